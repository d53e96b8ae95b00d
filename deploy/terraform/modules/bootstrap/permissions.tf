# What the deploy role may do: keep its state, and make what the modules registry, ecs and
# app-runner make, under names that begin with <name>. Roles it may make only below the path
# /<name>/ and with the boundary, so that no role of its making can do more than a task needs.

locals {
  arn = { for service in ["apprunner", "cloudwatch", "ecr", "ecs", "elasticloadbalancing", "kms", "logs", "wafv2"] :
    service => "arn:${local.partition}:${service}:${local.region}:${local.account}"
  }
  iam = "arn:${local.partition}:iam::${local.account}"

  # The tag Module of what the deploy role makes.
  modules = ["app-runner", "ecs", "registry", "web-acl"]

  in_region = { StringEquals = { "aws:RequestedRegion" = local.region } }
}

resource "aws_iam_policy" "boundary" {
  name        = "${var.name}-boundary"
  description = "The most that a role made by ${var.name}-deploy can do: pull images and write logs"
  tags        = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "PullImages"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer"]
        Resource = "${local.arn.ecr}:repository/${var.name}*"
      },
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${local.arn.logs}:log-group:/${var.name}*"
      },
    ]
  })
}

resource "aws_iam_policy" "state" {
  name        = "${var.name}-state"
  description = "Reads and writes the Terraform state of ${var.name}"
  tags        = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Find"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:GetBucketLocation"]
        Resource = aws_s3_bucket.state.arn
      },
      {
        Sid      = "ReadAndWrite"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = "${aws_s3_bucket.state.arn}/*"
      },
      {
        # S3's own lock is an object beside the state. A state itself is never deleted.
        Sid      = "Unlock"
        Effect   = "Allow"
        Action   = "s3:DeleteObject"
        Resource = "${aws_s3_bucket.state.arn}/*.tflock"
      },
      {
        Sid      = "UseKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
        Resource = aws_kms_key.state.arn
      },
    ]
  })
}

resource "aws_iam_policy" "roles" {
  name        = "${var.name}-roles"
  description = "Makes the roles of ${var.name}, none of them beyond the boundary"
  tags        = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "MakeWithBoundary"
        Effect    = "Allow"
        Action    = ["iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
        Resource  = "${local.iam}:role/${var.name}/*"
        Condition = { StringEquals = { "iam:PermissionsBoundary" = aws_iam_policy.boundary.arn } }
      },
      {
        Sid    = "Keep"
        Effect = "Allow"
        Action = [
          "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy",
          "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies",
          "iam:ListRoleTags", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
          "iam:UpdateRole", "iam:UpdateRoleDescription",
        ]
        Resource = "${local.iam}:role/${var.name}/*"
      },
      {
        Sid      = "PassToTheirServices"
        Effect   = "Allow"
        Action   = "iam:PassRole"
        Resource = "${local.iam}:role/${var.name}/*"
        Condition = { StringEquals = { "iam:PassedToService" = [
          "build.apprunner.amazonaws.com", "ecs-tasks.amazonaws.com", "tasks.apprunner.amazonaws.com",
        ] } }
      },
      {
        Sid      = "ServiceLinkedRoles"
        Effect   = "Allow"
        Action   = "iam:CreateServiceLinkedRole"
        Resource = "${local.iam}:role/aws-service-role/*"
        Condition = { StringEquals = { "iam:AWSServiceName" = [
          "apprunner.amazonaws.com", "ecs.amazonaws.com", "ecs.application-autoscaling.amazonaws.com",
          "elasticloadbalancing.amazonaws.com", "wafv2.amazonaws.com",
        ] } }
      },
    ]
  })
}

resource "aws_iam_policy" "resources" {
  # checkov:skip=CKV_AWS_287:ecr:GetAuthorizationToken logs in; what can be pulled and pushed is limited to own repositories
  # checkov:skip=CKV_AWS_289:it changes policies of its own keys, repositories and bucket, none of IAM
  # checkov:skip=CKV_AWS_290:the actions on all resources take no others, or make what has no name yet; all are held to the region
  # checkov:skip=CKV_AWS_355:as above
  name        = "${var.name}-resources"
  description = "Makes and changes what the modules registry, ecs and app-runner make for ${var.name}"
  tags        = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OwnNames"
        Effect = "Allow"
        Action = [
          "apprunner:*", "cloudwatch:*", "ecr:*", "ecs:*", "elasticloadbalancing:*", "logs:*", "wafv2:*",
        ]
        Resource = [
          "${local.arn.apprunner}:*/${var.name}*",
          "${local.arn.cloudwatch}:alarm:${var.name}*",
          "${local.arn.ecr}:repository/${var.name}*",
          "${local.arn.ecs}:*/${var.name}*",
          "${local.arn.elasticloadbalancing}:*/${var.name}*",
          "${local.arn.elasticloadbalancing}:*/app/${var.name}*",
          "${local.arn.logs}:log-group:/${var.name}*",
          "${local.arn.logs}:log-group:aws-waf-logs-${var.name}*",
          "${local.arn.wafv2}:regional/webacl/${var.name}*",
        ]
      },
      {
        Sid    = "AccessLogs"
        Effect = "Allow"
        Action = "s3:*"
        Resource = [
          "arn:${local.partition}:s3:::${var.name}-alb-logs-*",
          "arn:${local.partition}:s3:::${var.name}-alb-logs-*/*",
        ]
      },
      {
        # These take no resource, or one that AWS owns.
        Sid    = "Regional"
        Effect = "Allow"
        Action = [
          "application-autoscaling:*ScalableTarget*", "application-autoscaling:*ScalingPolic*",
          "application-autoscaling:*Resource*", "apprunner:AssociateWebAcl", "apprunner:List*",
          "cloudwatch:DescribeAlarms", "ecr:GetAuthorizationToken", "ecs:CreateCluster",
          "ecs:DeregisterTaskDefinition", "ecs:Describe*", "ecs:List*", "elasticloadbalancing:Describe*",
          "elasticloadbalancing:SetWebACL", "kms:CreateKey", "kms:ListAliases", "logs:*LogDelivery",
          "logs:*LogDeliveries", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
          "logs:PutResourcePolicy", "wafv2:AssociateWebACL", "wafv2:CreateWebACL",
          "wafv2:DescribeManagedRuleGroup", "wafv2:DisassociateWebACL", "wafv2:GetWebACLForResource",
          "wafv2:List*", "wafv2:UpdateWebACL",
        ]
        Resource  = "*"
        Condition = local.in_region
      },
      {
        # The network of the example, and security groups. EC2 has ids in place of names.
        Sid    = "Network"
        Effect = "Allow"
        Action = [
          "ec2:*InternetGateway*", "ec2:*Route", "ec2:*RouteTable*", "ec2:*SecurityGroup*",
          "ec2:*Subnet*", "ec2:*Tags", "ec2:*Vpc", "ec2:*VpcAttribute", "ec2:*VpcEndpoint*",
          "ec2:*FlowLogs", "ec2:Describe*",
        ]
        Resource  = "*"
        Condition = local.in_region
      },
      {
        # A key has no name: its tag tells whose it is. That of the state is of the module bootstrap.
        Sid       = "OwnKeys"
        Effect    = "Allow"
        Action    = "kms:*"
        Resource  = "${local.arn.kms}:key/*"
        Condition = { StringEquals = { "aws:ResourceTag/Module" = local.modules } }
      },
      {
        Sid      = "NewKeys"
        Effect   = "Allow"
        Action   = "kms:TagResource"
        Resource = "${local.arn.kms}:key/*"
        Condition = {
          Null         = { "aws:ResourceTag/Module" = "true" }
          StringEquals = { "aws:RequestTag/Module" = local.modules }
        }
      },
      {
        Sid      = "KeyAliases"
        Effect   = "Allow"
        Action   = ["kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"]
        Resource = "${local.arn.kms}:alias/${var.name}*"
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "deploy" {
  for_each = {
    resources = aws_iam_policy.resources.arn
    roles     = aws_iam_policy.roles.arn
    state     = aws_iam_policy.state.arn
  }

  role       = aws_iam_role.deploy.name
  policy_arn = each.value
}
