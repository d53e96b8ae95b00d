locals {
  # A request that was in flight when the task was deregistered gets what a stop would give it.
  deregistration_delay = var.drain_delay + var.shutdown_grace_period

  # After both times the service needs up to 10 s for background work, 2 s for spans, and 2 s for
  # each of two places that log lines go to. Then ECS kills it.
  stop_timeout = var.drain_delay + var.shutdown_grace_period + 16

  environment = merge(var.environment, {
    PORT                  = tostring(var.port)
    TRUSTED_PROXIES       = join(",", distinct(var.alb_subnets[*].cidr_block))
    FORCE_HTTPS           = "true"
    DRAIN_DELAY           = "${var.drain_delay}s"
    SHUTDOWN_GRACE_PERIOD = "${var.shutdown_grace_period}s"
  })

  health_check_command = (var.health_check_command != null
    ? var.health_check_command
    : ["/${basename(local.image.repository)}", "healthcheck"]
  )
}

resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "The tasks of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "tasks_from_alb" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "The load balancer, and nothing else"
  referenced_security_group_id = aws_security_group.alb.id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
  tags                         = local.tags
}

# For ECR, S3 and CloudWatch Logs. The route table decides whether there is more behind it.
resource "aws_vpc_security_group_egress_rule" "tasks_to_aws" {
  security_group_id = aws_security_group.tasks.id
  description       = "HTTPS, for the APIs of AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  tags = local.tags

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = local.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([{
    name                   = var.name
    image                  = var.image
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    stopTimeout            = local.stop_timeout
    portMappings           = [{ name = "http", containerPort = var.port, hostPort = var.port, protocol = "tcp" }]
    # In the order of names, as AWS gives it back.
    environment = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]

    linuxParameters = {
      capabilities = { drop = ["ALL"] }
    }

    healthCheck = {
      command     = concat(["CMD"], local.health_check_command)
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 10
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.service.name
        awslogs-region        = local.region
        awslogs-stream-prefix = var.name
        # A log that cannot keep up must not block the service.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }])

  # The old revision is there until the new one runs, and after a deployment that failed.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_ecs_service" "this" {
  # Without a listener the target group takes no service, without the policy no task starts.
  depends_on = [aws_lb_listener.https, aws_iam_role_policy.execution]

  name                          = var.name
  cluster                       = aws_ecs_cluster.this.id
  task_definition               = aws_ecs_task_definition.this.arn
  launch_type                   = "FARGATE"
  platform_version              = "LATEST"
  desired_count                 = var.min_tasks
  availability_zone_rebalancing = "ENABLED"
  enable_ecs_managed_tags       = true
  propagate_tags                = "SERVICE"
  wait_for_steady_state         = true
  tags                          = local.tags

  # New tasks first: no moment has fewer than are wanted.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 30

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # The circuit breaker sees tasks that do not start; this sees those that start and fail.
  alarms {
    enable      = true
    rollback    = true
    alarm_names = [aws_cloudwatch_metric_alarm.errors.alarm_name]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = var.name
    container_port   = var.port
  }

  network_configuration {
    subnets          = var.task_subnet_ids
    security_groups  = [aws_security_group.tasks.id]
    assign_public_ip = false
  }

  lifecycle {
    # Autoscaling owns it.
    ignore_changes = [desired_count]

    # A rollback ends in a steady state, too.
    postcondition {
      condition     = self.task_definition == aws_ecs_task_definition.this.arn
      error_message = "The deployment failed and was rolled back: the service runs another revision than the one that was to be deployed."
    }
  }
}

resource "aws_appautoscaling_target" "tasks" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this.name}"
  min_capacity       = var.min_tasks
  max_capacity       = var.max_tasks
  tags               = local.tags
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.tasks.service_namespace
  scalable_dimension = aws_appautoscaling_target.tasks.scalable_dimension
  resource_id        = aws_appautoscaling_target.tasks.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.cpu_target
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_policy" "requests" {
  name               = "${var.name}-requests"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.tasks.service_namespace
  scalable_dimension = aws_appautoscaling_target.tasks.scalable_dimension
  resource_id        = aws_appautoscaling_target.tasks.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.requests_per_target
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ALBRequestCountPerTarget"
      resource_label         = "${aws_lb.this.arn_suffix}/${aws_lb_target_group.this.arn_suffix}"
    }
  }
}
