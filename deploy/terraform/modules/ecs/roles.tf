locals {
  assume_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Tasks"
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      # For tasks of this account alone: ECS could be asked by others, too.
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${local.region}:${local.account}:*" }
      }
    }]
  })
}

# What ECS does for a task before it runs: pull this image, open this log.
resource "aws_iam_role" "execution" {
  name                 = "${var.name}-execution"
  path                 = "/${var.name}/"
  description          = "Starts the tasks of ${var.name}"
  assume_role_policy   = local.assume_by_tasks
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags
}

resource "aws_iam_role_policy" "execution" {
  # checkov:skip=CKV_AWS_355:ecr:GetAuthorizationToken takes no resource
  # checkov:skip=CKV_AWS_290:as above
  # checkov:skip=CKV_AWS_287:as above; the token gives what the other statement allows
  name = "start"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid      = "PullImage"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = local.repository
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}:*"
      },
    ]
  })
}

# What the service itself may do in AWS: nothing. It has a role so that it gets no other one.
resource "aws_iam_role" "task" {
  name                 = "${var.name}-task"
  path                 = "/${var.name}/"
  description          = "The service ${var.name}, without permissions"
  assume_role_policy   = local.assume_by_tasks
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags
}
