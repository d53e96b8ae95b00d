output "state_bucket" {
  description = "Name of the state bucket."
  value       = aws_s3_bucket.state.bucket
}

output "state_key_arn" {
  description = "ARN of the KMS key that encrypts the states."
  value       = aws_kms_key.state.arn
}

output "backend" {
  description = "Lines for a file that `init -backend-config=<file>` takes; the state's `key` is yours to add."
  value       = <<-EOT
    bucket       = "${aws_s3_bucket.state.bucket}"
    region       = "${local.region}"
    encrypt      = true
    kms_key_id   = "${aws_kms_key.state.arn}"
    use_lockfile = true
  EOT
}

output "role_arn" {
  description = "ARN of the role that the workflows assume: `role-to-assume` of aws-actions/configure-aws-credentials."
  value       = aws_iam_role.deploy.arn
}

output "subjects" {
  description = "The subjects of GitHub's tokens that may assume the role."
  value       = [for environment in sort(var.github_environments) : "${local.subject}:environment:${environment}"]
}

output "permissions_boundary_arn" {
  description = "ARN of the boundary that every role made by the deploy role must have: `permissions_boundary` of the other modules."
  value       = aws_iam_policy.boundary.arn
}

output "oidc_provider_arn" {
  description = "ARN of the account's identity provider for GitHub."
  value       = local.oidc_provider_arn
}
