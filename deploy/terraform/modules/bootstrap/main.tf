data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  bucket = coalesce(var.state_bucket, "${var.name}-tfstate-${local.account}-${local.region}")
  tags   = merge({ Name = var.name }, var.tags, { ManagedBy = "terraform", Module = "bootstrap" })
}
