# What App Runner does for the service: pull this image.
resource "aws_iam_role" "access" {
  name                 = "${var.name}-access"
  path                 = "/${var.name}/"
  description          = "Lets App Runner pull the image of ${var.name}"
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AppRunner"
      Effect    = "Allow"
      Principal = { Service = "build.apprunner.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "access" {
  # checkov:skip=CKV_AWS_355:ecr:GetAuthorizationToken takes no resource
  # checkov:skip=CKV_AWS_290:as above
  # checkov:skip=CKV_AWS_287:as above; the token gives what the other statement allows
  name = "pull"
  role = aws_iam_role.access.id
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
        Sid    = "PullImage"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages",
          "ecr:GetDownloadUrlForLayer",
        ]
        Resource = local.repository
      },
    ]
  })
}

# What the service itself may do in AWS: nothing.
resource "aws_iam_role" "instance" {
  name                 = "${var.name}-instance"
  path                 = "/${var.name}/"
  description          = "The service ${var.name}, without permissions"
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Instances"
      Effect    = "Allow"
      Principal = { Service = "tasks.apprunner.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}
