data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  # <account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<digest>
  image      = regex("^(?P<account>[0-9]{12})\\.dkr\\.ecr\\.(?P<region>[a-z0-9-]+)\\.[a-z.]+/(?P<repository>[^@]+)@", var.image)
  repository = "arn:${local.partition}:ecr:${local.image.region}:${local.image.account}:repository/${local.image.repository}"

  tags = merge({ Name = var.name }, var.tags, { ManagedBy = "terraform", Module = "app-runner" })
}

resource "aws_kms_key" "this" {
  description             = "Encrypts App Runner's copy of the image of ${var.name}, and the log of its web ACL"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.amazonaws.com" }
        Action    = ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = {
          ArnEquals = {
            "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:aws-waf-logs-${var.name}"
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-app-runner"
  target_key_id = aws_kms_key.this.key_id
}

module "web_acl" {
  source = "../web-acl"

  name               = var.name
  rate_limit         = var.rate_limit
  log_retention_days = var.log_retention_days
  kms_key_arn        = aws_kms_key.this.arn
  tags               = var.tags
}
