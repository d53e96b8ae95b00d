module "registry" {
  source = "../../modules/registry"

  name         = var.name
  repositories = [var.name]
}
