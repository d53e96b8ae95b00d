# Applied once, by hand, by somebody who administers the account: what workflows need before they
# can do anything. Its own state goes into the bucket that it makes; see ../../README.md.
module "bootstrap" {
  source = "../../modules/bootstrap"

  name                = var.name
  github_repository   = var.github_repository
  github_ids          = var.github_ids
  github_environments = [var.environment]
}
