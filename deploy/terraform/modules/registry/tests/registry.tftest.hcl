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
}

variables {
  name         = "kata"
  repositories = ["kata", "kata/worker"]
}

run "images_are_immutable_scanned_encrypted_and_private" {
  assert {
    condition     = toset(keys(aws_ecr_repository.this)) == toset(var.repositories)
    error_message = "Each name must get a repository."
  }

  assert {
    condition = alltrue([
      for repository in aws_ecr_repository.this :
      repository.image_tag_mutability == "IMMUTABLE" &&
      repository.image_scanning_configuration[0].scan_on_push &&
      repository.encryption_configuration[0].encryption_type == "KMS" &&
      repository.encryption_configuration[0].kms_key == aws_kms_key.images.arn &&
      !repository.force_delete
    ])
    error_message = "Tags must not move, images must be scanned and encrypted, and not be deleted with the repository."
  }

  assert {
    condition = alltrue([
      for repository in aws_ecr_repository.this :
      repository.tags == tomap({ Name = "kata", ManagedBy = "terraform", Module = "registry" })
    ])
    error_message = "Repositories must have tags."
  }

  assert {
    condition     = aws_kms_key.images.enable_key_rotation
    error_message = "The key must be rotated."
  }

  assert {
    condition     = length(aws_ecr_repository_policy.pull) == 0
    error_message = "Without accounts there must be no policy."
  }
}

run "old_images_expire_and_other_accounts_pull" {
  variables {
    keep_images      = 20
    untagged_days    = 3
    pull_account_ids = ["210987654321"]
  }

  assert {
    condition = alltrue([
      for policy in aws_ecr_lifecycle_policy.this : [
        for rule in jsondecode(policy.policy).rules : "${rule.selection.tagStatus} ${rule.selection.countType} ${rule.selection.countNumber}"
      ] == ["untagged sinceImagePushed 3", "tagged imageCountMoreThan 20"]
    ])
    error_message = "Untagged images must expire by age, tagged ones by number."
  }

  assert {
    condition = alltrue([
      for policy in aws_ecr_repository_policy.pull :
      jsondecode(policy.policy).Statement[0].Principal.AWS == ["arn:aws:iam::210987654321:root"] &&
      !anytrue([for action in jsondecode(policy.policy).Statement[0].Action : strcontains(action, "Put") || strcontains(action, "*")])
    ])
    error_message = "The account must be able to pull, and nothing else."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    name             = "k"
    repositories     = ["Kata"]
    keep_images      = 1
    untagged_days    = 0
    pull_account_ids = ["*"]
    tags             = { "aws:name" = "x" }
  }

  expect_failures = [
    var.name, var.repositories, var.keep_images, var.untagged_days, var.pull_account_ids, var.tags,
  ]
}
