resource "aws_apprunner_auto_scaling_configuration_version" "this" {
  auto_scaling_configuration_name = var.name
  min_size                        = var.min_instances
  max_size                        = var.max_instances
  max_concurrency                 = var.max_concurrency
  tags                            = local.tags

  # A service names the version that it uses, and one in use cannot be deleted.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_apprunner_service" "this" {
  # Without the policy the first pull fails, and a service that failed cannot be deployed again.
  depends_on = [aws_iam_role_policy.access]

  service_name                   = var.name
  auto_scaling_configuration_arn = aws_apprunner_auto_scaling_configuration_version.this.arn
  tags                           = local.tags

  source_configuration {
    # A digest never moves: a deployment is a change of `image`.
    auto_deployments_enabled = false

    authentication_configuration {
      access_role_arn = aws_iam_role.access.arn
    }

    image_repository {
      image_identifier      = var.image
      image_repository_type = "ECR"

      image_configuration {
        # App Runner tells the service, as PORT.
        port = tostring(var.port)
        runtime_environment_variables = merge(var.environment, {
          TRUSTED_PROXIES = join(",", var.trusted_proxies)
          FORCE_HTTPS     = tostring(var.force_https)
        })
      }
    }
  }

  instance_configuration {
    cpu               = tostring(var.cpu)
    memory            = tostring(var.memory)
    instance_role_arn = aws_iam_role.instance.arn
  }

  health_check_configuration {
    protocol            = "HTTP"
    path                = var.health_check_path
    interval            = 10
    timeout             = 5
    healthy_threshold   = 1
    unhealthy_threshold = 3
  }

  encryption_configuration {
    kms_key = aws_kms_key.this.arn
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  resource_arn = aws_apprunner_service.this.arn
  web_acl_arn  = module.web_acl.arn
}

resource "aws_apprunner_custom_domain_association" "this" {
  count = var.domain_name == null ? 0 : 1

  service_arn          = aws_apprunner_service.this.arn
  domain_name          = var.domain_name
  enable_www_subdomain = false
}
