terraform {
  # See modules/*/versions.tf.
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "6.62.0"
    }
  }

  # The bucket and the key come from the bootstrap's output `backend`, by -backend-config.
  backend "s3" {
    key = "registry.tfstate"
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { Project = "rust-service-stack", Environment = var.environment }
  }
}
