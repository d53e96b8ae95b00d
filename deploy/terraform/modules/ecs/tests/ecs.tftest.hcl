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

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::mock-logs" }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/kata/0000000000000001"
      arn_suffix = "app/kata/0000000000000001"
    }
  }

  mock_resource "aws_lb_target_group" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/kata-8003/0000000000000002"
      arn_suffix = "targetgroup/kata-8003/0000000000000002"
    }
  }

  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/kata/0000000000000001/0000000000000003" }
  }

  mock_resource "aws_ecs_cluster" {
    defaults = {
      arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/kata"
      id  = "arn:aws:ecs:eu-west-1:123456789012:cluster/kata"
    }
  }

  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/kata:1" }
  }

  mock_resource "aws_cloudwatch_metric_alarm" {
    defaults = { arn = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:mock" }
  }
}

variables {
  name            = "kata"
  image           = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/kata/sre-kata@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000004"
  vpc_id          = "vpc-00000000000000001"
  alb_subnets = [
    { id = "subnet-00000000000000001", cidr_block = "10.0.0.0/24" },
    { id = "subnet-00000000000000002", cidr_block = "10.0.1.0/24" },
  ]
  task_subnet_ids      = ["subnet-00000000000000003", "subnet-00000000000000004"]
  alarm_actions        = ["arn:aws:sns:eu-west-1:123456789012:on-call"]
  permissions_boundary = "arn:aws:iam::123456789012:policy/kata-boundary"
  environment          = { LOG_LEVEL = "warn" }
  tags                 = { Team = "sre" }
}

run "the_service_runs_behind_its_load_balancer" {
  assert {
    condition = { for variable in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : variable.name => variable.value } == {
      DRAIN_DELAY           = "5s"
      FORCE_HTTPS           = "true"
      LOG_LEVEL             = "warn"
      PORT                  = "8003"
      SHUTDOWN_GRACE_PERIOD = "20s"
      TRUSTED_PROXIES       = "10.0.0.0/24,10.0.1.0/24"
    }
    error_message = "The service must trust the load balancer's subnets, force HTTPS, and stop as it is waited for."
  }

  assert {
    condition     = aws_lb_target_group.this.health_check[0].path == "/healthcheck" && aws_lb_target_group.this.health_check[0].matcher == "200" && aws_lb_target_group.this.port == 8003
    error_message = "The load balancer must ask /healthcheck."
  }

  assert {
    condition     = aws_lb.this.idle_timeout < 75
    error_message = "The service keeps idle connections for 75 s; the load balancer must close them earlier."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].readonlyRootFilesystem
    error_message = "The root file system must be read-only."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].user == "65532:65532" && jsondecode(aws_ecs_task_definition.this.container_definitions)[0].linuxParameters.capabilities.drop == ["ALL"]
    error_message = "The container must be no root and have no capabilities."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].image == var.image
    error_message = "What runs must be the digest."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].healthCheck.command == ["CMD", "/sre-kata", "healthcheck"]
    error_message = "The container's check must be the image's own."
  }

  assert {
    condition     = !one(aws_ecs_service.this.network_configuration).assign_public_ip
    error_message = "Tasks must have no public address."
  }

  assert {
    condition     = aws_lb_listener.https.port == 443 && aws_lb_listener.https.protocol == "HTTPS" && aws_lb_listener.https.certificate_arn == var.certificate_arn && aws_lb_listener.https.default_action[0].type == "forward"
    error_message = "HTTPS must lead to the service."
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "redirect" && aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS" && aws_lb_listener.http.default_action[0].redirect[0].status_code == "HTTP_301"
    error_message = "HTTP must be redirected."
  }

  assert {
    condition     = aws_wafv2_web_acl_association.this.resource_arn == aws_lb.this.arn && aws_wafv2_web_acl_association.this.web_acl_arn == module.web_acl.arn
    error_message = "The web ACL must be in front of the load balancer."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.clients : rule.from_port]) == toset([80, 443])
    error_message = "Clients must reach 80 and 443, and nothing else."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.tasks_from_alb.referenced_security_group_id == aws_security_group.alb.id && aws_vpc_security_group_egress_rule.alb_to_tasks.referenced_security_group_id == aws_security_group.tasks.id
    error_message = "Only the load balancer must reach the tasks, and it nothing else."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    error_message = "The circuit breaker must roll back."
  }

  assert {
    condition     = one(aws_ecs_service.this.alarms).rollback && one(aws_ecs_service.this.alarms).alarm_names == toset(["kata-errors"])
    error_message = "Answers 5xx must roll back."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.wait_for_steady_state
    error_message = "No task may stop before its successor runs, and the apply must wait for it."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource
      ] == [
      "*",
      "arn:aws:ecr:eu-west-1:123456789012:repository/kata/sre-kata",
      "arn:aws:logs:eu-west-1:123456789012:log-group:/kata/ecs:*",
    ]
    error_message = "Only this repository and this log group; the login takes no resource."
  }

  assert {
    condition     = aws_iam_role_policy.execution.role == aws_iam_role.execution.id && aws_iam_role.task.name == "kata-task"
    error_message = "The policy must be the execution role's."
  }

  assert {
    condition = alltrue([
      for role in [aws_iam_role.execution, aws_iam_role.task] :
      role.permissions_boundary == var.permissions_boundary && role.path == "/kata/" &&
      jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"
    ])
    error_message = "Roles must be where the bootstrap allows them, and be for tasks of this account."
  }

  assert {
    condition     = toset(keys(output.alarm_arns)) == toset(["errors", "healthy_hosts", "latency", "unhealthy_hosts"])
    error_message = "These alarms must be there."
  }

  assert {
    condition = alltrue([
      for alarm in [
        aws_cloudwatch_metric_alarm.errors, aws_cloudwatch_metric_alarm.healthy_hosts,
        aws_cloudwatch_metric_alarm.latency, aws_cloudwatch_metric_alarm.unhealthy_hosts,
      ] : alarm.alarm_actions == toset(var.alarm_actions) && alarm.ok_actions == toset(var.alarm_actions)
    ])
    error_message = "Each alarm must tell when it goes off and when it is over."
  }

  assert {
    condition = alltrue([
      for resource in [
        aws_appautoscaling_target.tasks, aws_cloudwatch_log_group.service, aws_cloudwatch_metric_alarm.errors,
        aws_cloudwatch_metric_alarm.healthy_hosts, aws_cloudwatch_metric_alarm.latency,
        aws_cloudwatch_metric_alarm.unhealthy_hosts, aws_ecs_cluster.this, aws_ecs_service.this,
        aws_ecs_task_definition.this, aws_iam_role.execution, aws_iam_role.task, aws_kms_key.logs, aws_lb.this,
        aws_lb_listener.http, aws_lb_listener.https, aws_lb_target_group.this, aws_s3_bucket.access_log,
        aws_security_group.alb, aws_security_group.tasks, aws_vpc_security_group_egress_rule.alb_to_tasks,
        aws_vpc_security_group_egress_rule.tasks_to_aws, aws_vpc_security_group_ingress_rule.tasks_from_alb,
      ] : resource.tags == tomap({ Name = "kata", ManagedBy = "terraform", Module = "ecs", Team = "sre" })
    ])
    error_message = "Tags must be everywhere."
  }
}

run "times_and_numbers_can_be_chosen" {
  variables {
    drain_delay           = 10
    shutdown_grace_period = 60
    min_tasks             = 3
    max_tasks             = 9
    log_retention_days    = 30
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].stopTimeout == 86
    error_message = "ECS must wait for drain delay, grace period and 16 s."
  }

  assert {
    condition     = tonumber(aws_lb_target_group.this.deregistration_delay) == 70
    error_message = "Requests in flight must get as long at the load balancer as at the service."
  }

  assert {
    condition = length(setintersection(
      [for variable in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : "${variable.name}=${variable.value}"],
      ["DRAIN_DELAY=10s", "SHUTDOWN_GRACE_PERIOD=60s"],
    )) == 2
    error_message = "The service must be told the same times."
  }

  assert {
    condition     = aws_appautoscaling_target.tasks.min_capacity == 3 && aws_appautoscaling_target.tasks.max_capacity == 9 && aws_appautoscaling_target.tasks.resource_id == "service/kata/kata"
    error_message = "Autoscaling must keep to these numbers."
  }

  assert {
    condition = [
      for policy in [aws_appautoscaling_policy.cpu, aws_appautoscaling_policy.requests] :
      policy.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type
    ] == ["ECSServiceAverageCPUUtilization", "ALBRequestCountPerTarget"]
    error_message = "Both must be tracked."
  }

  assert {
    condition     = aws_appautoscaling_policy.requests.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].resource_label == "app/kata/0000000000000001/targetgroup/kata-8003/0000000000000002"
    error_message = "The label must name the load balancer and its target group."
  }

  assert {
    condition     = aws_cloudwatch_log_group.service.retention_in_days == 30 && aws_cloudwatch_log_group.service.kms_key_id == aws_kms_key.logs.arn
    error_message = "The service's log must have a retention and the key."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.access_log.rule[0].expiration[0].days == 30 && aws_lb.this.access_logs[0].enabled
    error_message = "The load balancer must log, and its log expire."
  }

  assert {
    condition = jsondecode(aws_kms_key.logs.policy).Statement[1].Condition.ArnEquals["kms:EncryptionContext:aws:logs:arn"] == [
      "arn:aws:logs:eu-west-1:123456789012:log-group:/kata/ecs",
      "arn:aws:logs:eu-west-1:123456789012:log-group:aws-waf-logs-kata",
    ]
    error_message = "CloudWatch Logs must use the key for these groups alone."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    name                 = "-kata"
    image                = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/kata:latest"
    cpu                  = 300
    architecture         = "arm64"
    port                 = 80
    environment          = { PORT = "1" }
    health_check_path    = "healthcheck"
    health_check_command = []
    min_tasks            = 0
    cpu_target           = 100
    requests_per_target  = 0
    drain_delay          = -1
    vpc_id               = "arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1"
    task_subnet_ids      = ["subnet-1"]
    client_cidrs         = ["anybody"]
    certificate_arn      = "arn:aws:iam::123456789012:server-certificate/x"
    rate_limit           = 1
    log_retention_days   = 2
    alarm_actions        = ["on-call"]
    error_ratio_percent  = 0
    latency_p99_seconds  = 0
    permissions_boundary = "boundary"
    tags                 = { "aws:name" = "x" }
  }

  expect_failures = [
    var.name, var.image, var.cpu, var.architecture, var.port, var.environment, var.health_check_path, var.health_check_command,
    var.min_tasks, var.cpu_target, var.requests_per_target, var.drain_delay, var.vpc_id, var.task_subnet_ids,
    var.client_cidrs, var.certificate_arn, var.rate_limit, var.log_retention_days, var.alarm_actions,
    var.error_ratio_percent, var.latency_p99_seconds, var.permissions_boundary, var.tags,
  ]
}

run "values_that_do_not_go_together_are_refused" {
  command = plan

  variables {
    cpu                   = 256
    memory                = 4096
    min_tasks             = 3
    max_tasks             = 2
    drain_delay           = 60
    shutdown_grace_period = 60
    alb_subnets           = [{ id = "subnet-1", cidr_block = "10.0.0.0/24" }]
  }

  expect_failures = [var.memory, var.max_tasks, var.shutdown_grace_period, var.alb_subnets]
}

