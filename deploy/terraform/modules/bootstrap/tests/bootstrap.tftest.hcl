# AWS answers from here: no account, no credentials. What one resource hands to another has the form
# that AWS gives it, because the provider checks it.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }

  mock_resource "aws_kms_key" {
    defaults = {
      arn    = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-96ef-1234567890ab"
      key_id = "1234abcd-12ab-34cd-96ef-1234567890ab"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::mock-state" }
  }

  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mock" }
  }

  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

variables {
  name              = "kata"
  github_repository = "example-org/stack"
  # Nobody overrides Module: permissions depend on it.
  tags = { Team = "sre", Module = "another" }
}

run "only_the_protected_environment_reaches_the_state_and_deploys" {
  assert {
    condition = jsondecode(aws_iam_role.deploy.assume_role_policy).Statement[0].Condition == {
      StringEquals = {
        "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
        "token.actions.githubusercontent.com:sub" = ["repo:example-org/stack:environment:production"]
      }
    }
    error_message = "The role must be assumed with exactly this audience and subject."
  }

  assert {
    condition     = jsondecode(aws_iam_role.deploy.assume_role_policy).Statement[0].Principal.Federated == aws_iam_openid_connect_provider.github[0].arn
    error_message = "The role must trust the provider that is made."
  }

  assert {
    condition     = length(jsondecode(aws_iam_role.deploy.assume_role_policy).Statement) == 1
    error_message = "There must be no other way into the role."
  }

  assert {
    condition     = aws_s3_bucket.state.bucket == "kata-tfstate-123456789012-eu-west-1"
    error_message = "The bucket's name must tell account and region."
  }

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "The bucket must keep versions."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.state.block_public_acls,
      aws_s3_bucket_public_access_block.state.block_public_policy,
      aws_s3_bucket_public_access_block.state.ignore_public_acls,
      aws_s3_bucket_public_access_block.state.restrict_public_buckets,
    ])
    error_message = "Nothing of the bucket may be public."
  }

  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_server_side_encryption_configuration.state.rule :
      rule.apply_server_side_encryption_by_default[0].kms_master_key_id == aws_kms_key.state.arn
    ])
    error_message = "The state must be encrypted with its own key."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.state.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.state.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "Plain HTTP must be denied."
  }

  assert {
    condition     = !aws_s3_bucket.state.force_destroy
    error_message = "A bucket with states in it must not be destroyed."
  }

  assert {
    condition     = strcontains(output.backend, "use_lockfile = true") && strcontains(output.backend, "kata-tfstate-123456789012-eu-west-1")
    error_message = "The backend must name the bucket, and lock with S3."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_policy.roles.policy).Statement :
      statement.Resource == "arn:aws:iam::123456789012:role/kata/*" || statement.Sid == "ServiceLinkedRoles"
    ])
    error_message = "Roles must be changed only below the path, where the deploy role itself is not."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_policy.roles.policy).Statement :
      statement.Condition.StringEquals["iam:PermissionsBoundary"] == aws_iam_policy.boundary.arn
      if length(setintersection(flatten([statement.Action]), ["iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"])) > 0
    ])
    error_message = "Roles and their policies must be made only with the boundary."
  }

  assert {
    condition = length(setintersection(flatten([
      for statement in jsondecode(aws_iam_policy.roles.policy).Statement : statement.Action
    ]), ["iam:*", "iam:AttachRolePolicy", "iam:CreatePolicyVersion", "iam:DeleteRolePermissionsBoundary"])) == 0
    error_message = "The boundary must not be taken away or widened."
  }

  assert {
    condition = alltrue([
      for action in flatten([for statement in jsondecode(aws_iam_policy.resources.policy).Statement : statement.Action]) :
      !startswith(action, "iam:") && !startswith(action, "sts:") && action != "*"
    ])
    error_message = "What makes resources must make no roles."
  }

  assert {
    condition     = toset(keys(aws_iam_role_policy_attachment.deploy)) == toset(["resources", "roles", "state"])
    error_message = "The role must have these policies."
  }

  assert {
    condition = alltrue([
      for policy in [aws_iam_policy.boundary, aws_iam_policy.resources, aws_iam_policy.roles, aws_iam_policy.state] :
      length(policy.policy) <= 6144
    ])
    error_message = "A managed policy has at most 6144 characters."
  }

  assert {
    condition = alltrue([
      for resource in [
        aws_s3_bucket.state, aws_kms_key.state, aws_iam_role.deploy, aws_iam_openid_connect_provider.github[0],
        aws_iam_policy.boundary, aws_iam_policy.resources, aws_iam_policy.roles, aws_iam_policy.state,
      ] : resource.tags == tomap({ Name = "kata", ManagedBy = "terraform", Module = "bootstrap", Team = "sre" })
    ])
    error_message = "Tags must be everywhere; permissions depend on Module, which nobody overrides."
  }
}

run "ids_and_the_accounts_own_provider_are_used" {
  command = plan

  variables {
    github_ids          = { owner = 123456, repository = 456789 }
    github_environments = ["staging", "production"]
    oidc_provider_arn   = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }

  assert {
    condition = output.subjects == [
      "repo:example-org@123456/stack@456789:environment:production",
      "repo:example-org@123456/stack@456789:environment:staging",
    ]
    error_message = "The ids must follow the names."
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0 && output.oidc_provider_arn == var.oidc_provider_arn
    error_message = "There can be only one provider in an account."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    name                 = "Kata"
    github_repository    = "example-org/*"
    github_environments  = ["*"]
    state_bucket         = "with.dots"
    state_retention_days = 1
    github_ids           = { owner = 0, repository = 1 }
    oidc_provider_arn    = "arn:aws:iam::123456789012:oidc-provider/example.org"
    tags                 = { "aws:name" = "x" }
  }

  expect_failures = [
    var.name, var.github_repository, var.github_environments, var.state_bucket, var.state_retention_days, var.github_ids, var.oidc_provider_arn, var.tags,
  ]
}
