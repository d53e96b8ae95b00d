locals {
  issuer = "token.actions.githubusercontent.com"

  oidc_provider_arn = var.oidc_provider_arn != null ? var.oidc_provider_arn : aws_iam_openid_connect_provider.github[0].arn

  # With immutable subject claims GitHub appends the id to each name. Where the ids are known only
  # that form is believed: it does not pass on to whoever takes over a name that was given up.
  owner      = split("/", var.github_repository)[0]
  repository = split("/", var.github_repository)[1]
  subject = (var.github_ids == null
    ? "repo:${var.github_repository}"
    : "repo:${local.owner}@${var.github_ids.owner}/${local.repository}@${var.github_ids.repository}"
  )
}

# No thumbprint: AWS checks GitHub's certificate against public CAs.
resource "aws_iam_openid_connect_provider" "github" {
  count = var.oidc_provider_arn == null ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
  tags           = local.tags
}

# The name has no slash: the role's own policies reach "role/<name>/*", and so never this role.
resource "aws_iam_role" "deploy" {
  name                 = "${var.name}-deploy"
  description          = "Assumed by the workflows of ${var.github_repository} in ${join(", ", sort(var.github_environments))}"
  max_session_duration = 3600
  tags                 = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ProtectedEnvironments"
      Effect    = "Allow"
      Principal = { Federated = local.oidc_provider_arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      # Exact subjects. A pattern would let other branches, pull requests or repositories in.
      Condition = {
        StringEquals = {
          "${local.issuer}:aud" = "sts.amazonaws.com"
          "${local.issuer}:sub" = [for environment in sort(var.github_environments) : "${local.subject}:environment:${environment}"]
        }
      }
    }]
  })
}
