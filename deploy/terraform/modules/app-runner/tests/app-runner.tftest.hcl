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

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }

  mock_resource "aws_wafv2_web_acl" {
    defaults = { arn = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/mock/00000000-0000-0000-0000-000000000002" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:mock" }
  }

  mock_resource "aws_apprunner_auto_scaling_configuration_version" {
    defaults = { arn = "arn:aws:apprunner:eu-west-1:123456789012:autoscalingconfiguration/kata/1/00000000000000000000000000000001" }
  }

  mock_resource "aws_apprunner_service" {
    defaults = {
      arn         = "arn:aws:apprunner:eu-west-1:123456789012:service/kata/00000000000000000000000000000002"
      service_url = "mock.eu-west-1.awsapprunner.com"
    }
  }
}

variables {
  name  = "kata"
  image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sre-kata@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  tags  = { Team = "sre" }
}

run "the_service_runs_behind_the_web_acl" {
  assert {
    condition     = aws_apprunner_service.this.source_configuration[0].image_repository[0].image_identifier == var.image && !aws_apprunner_service.this.source_configuration[0].auto_deployments_enabled
    error_message = "The digest must run, and nothing be deployed by itself."
  }

  assert {
    condition = aws_apprunner_service.this.source_configuration[0].image_repository[0].image_configuration[0].runtime_environment_variables == tomap({
      FORCE_HTTPS     = "true"
      TRUSTED_PROXIES = "10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.168.0.0/16"
    })
    error_message = "The service must believe App Runner, and force HTTPS."
  }

  assert {
    condition     = aws_apprunner_service.this.health_check_configuration[0].path == "/healthcheck" && aws_apprunner_service.this.health_check_configuration[0].protocol == "HTTP"
    error_message = "App Runner must ask /healthcheck."
  }

  assert {
    condition     = output.url == "https://mock.eu-west-1.awsapprunner.com" && output.domain_records == null
    error_message = "The URL must be HTTPS; without a domain there are no records."
  }

  assert {
    condition     = aws_wafv2_web_acl_association.this.resource_arn == aws_apprunner_service.this.arn && aws_wafv2_web_acl_association.this.web_acl_arn == module.web_acl.arn
    error_message = "The web ACL must be the service's."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.access.policy).Statement : statement.Resource] == [
      "*", "arn:aws:ecr:eu-west-1:123456789012:repository/sre-kata",
    ]
    error_message = "Only this repository; the login takes no resource."
  }

  assert {
    condition     = aws_iam_role_policy.access.role == aws_iam_role.access.id && jsondecode(aws_iam_role.instance.assume_role_policy).Statement[0].Principal.Service == "tasks.apprunner.amazonaws.com"
    error_message = "The policy must be the access role's."
  }

  assert {
    condition = alltrue([
      for resource in [
        aws_apprunner_auto_scaling_configuration_version.this, aws_apprunner_service.this, aws_iam_role.access,
        aws_iam_role.instance, aws_kms_key.this,
      ] : resource.tags == tomap({ Name = "kata", ManagedBy = "terraform", Module = "app-runner", Team = "sre" })
    ])
    error_message = "Tags must be everywhere."
  }
}

run "numbers_and_a_domain_can_be_chosen" {
  variables {
    min_instances   = 2
    max_instances   = 5
    max_concurrency = 50
    domain_name     = "kata.example.org"
  }

  assert {
    condition = [
      aws_apprunner_auto_scaling_configuration_version.this.min_size,
      aws_apprunner_auto_scaling_configuration_version.this.max_size,
      aws_apprunner_auto_scaling_configuration_version.this.max_concurrency,
    ] == [2, 5, 50]
    error_message = "Autoscaling must keep to these numbers."
  }

  assert {
    condition     = aws_apprunner_service.this.auto_scaling_configuration_arn == aws_apprunner_auto_scaling_configuration_version.this.arn
    error_message = "The service must use them."
  }

  assert {
    condition     = aws_apprunner_custom_domain_association.this[0].domain_name == "kata.example.org" && output.domain_records.target == aws_apprunner_custom_domain_association.this[0].dns_target
    error_message = "The service must answer to the domain, and the output say what DNS needs."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    name                 = "a"
    image                = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/kata:latest"
    port                 = 80
    environment          = { PORT = "1" }
    trusted_proxies      = []
    health_check_path    = "healthcheck"
    memory               = 4096
    min_instances        = 3
    max_instances        = 2
    max_concurrency      = 201
    domain_name          = "https://kata.example.org"
    rate_limit           = 1
    log_retention_days   = 2
    permissions_boundary = "boundary"
    tags                 = { "aws:name" = "x" }
  }

  expect_failures = [
    var.name, var.image, var.port, var.environment, var.trusted_proxies, var.health_check_path, var.memory,
    var.max_instances, var.max_concurrency, var.domain_name, var.rate_limit, var.log_retention_days,
    var.permissions_boundary, var.tags,
  ]
}
