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

  tags = merge({ Name = var.name }, var.tags, { ManagedBy = "terraform", Module = "ecs" })
}

module "web_acl" {
  source = "../web-acl"

  name               = var.name
  rate_limit         = var.rate_limit
  log_retention_days = var.log_retention_days
  kms_key_arn        = aws_kms_key.logs.arn
  tags               = var.tags
}
