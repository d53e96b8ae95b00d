terraform {
  # Terraform 1.11 or OpenTofu 1.10: from these on the S3 backend has its own lock. Both read this
  # line; Terraform 1.10 passes it, too, but calls that lock experimental.
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.62"
    }
  }
}
