module "app_runner" {
  source = "../../modules/app-runner"

  name                 = var.name
  image                = var.image
  domain_name          = var.domain_name
  permissions_boundary = var.permissions_boundary
}
