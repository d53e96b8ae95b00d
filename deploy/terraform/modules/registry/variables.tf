variable "name" {
  description = "Prefix of the key's alias, and the tag Name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "The name must have 3 to 20 characters: lower-case letters, digits and hyphens; a letter first, no hyphen last."
  }
}

variable "repositories" {
  description = "The repositories' names, one for each image. Those that a role of the module bootstrap pushes to begin with its name."
  type        = set(string)

  validation {
    condition     = length(var.repositories) > 0 && alltrue([for name in var.repositories : can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", name)) && length(name) >= 2 && length(name) <= 256])
    error_message = "At least one repository is required; a name has 2 to 256 characters: lower-case letters and digits, with single dots, hyphens, underscores or slashes between them."
  }
}

variable "keep_images" {
  description = "How many tagged images are kept in each repository, the newest. It must reach back further than anything that is still deployed: the rule knows no deployments."
  type        = number
  default     = 50

  validation {
    condition     = var.keep_images >= 10 && floor(var.keep_images) == var.keep_images
    error_message = "At least 10 images must be kept, or a rollback finds none."
  }
}

variable "untagged_days" {
  description = "After how many days an image without a tag expires."
  type        = number
  default     = 14

  validation {
    condition     = var.untagged_days >= 1 && floor(var.untagged_days) == var.untagged_days
    error_message = "The age must be a whole number of days, at least 1."
  }
}

variable "pull_account_ids" {
  description = "Other AWS accounts that may pull the images."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.pull_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "An account id has 12 digits."
  }
}

variable "force_delete" {
  description = "Whether a repository can be destroyed while it holds images."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.tags : !startswith(lower(key), "aws:") && length(key) <= 128 && length(value) <= 256])
    error_message = "A tag's key has at most 128 characters and does not begin with \"aws:\", its value at most 256."
  }
}
