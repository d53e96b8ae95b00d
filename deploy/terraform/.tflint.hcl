# The rules that tflint brings along, all of them; they need no download.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# Modules have as many files as they have subjects.
rule "terraform_standard_module_structure" {
  enabled = false
}
