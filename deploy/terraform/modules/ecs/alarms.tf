locals {
  of_load_balancer = { LoadBalancer = aws_lb.this.arn_suffix }
  of_target_group = {
    LoadBalancer = aws_lb.this.arn_suffix
    TargetGroup  = aws_lb_target_group.this.arn_suffix
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.name}-errors"
  alarm_description   = "More than ${var.error_ratio_percent} % of the answers are 5xx, of the service or of the load balancer in its place."
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.error_ratio_percent
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags

  metric_query {
    id          = "ratio"
    label       = "answers 5xx, percent"
    return_data = true
    # Of a handful of requests one failure is no ratio.
    expression = "IF(requests >= 20, 100 * (FILL(service, 0) + FILL(balancer, 0)) / requests, 0)"
  }

  metric_query {
    id = "requests"

    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "RequestCount"
      dimensions  = local.of_load_balancer
      stat        = "Sum"
      period      = 60
    }
  }

  metric_query {
    id = "service"

    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "HTTPCode_Target_5XX_Count"
      dimensions  = local.of_load_balancer
      stat        = "Sum"
      period      = 60
    }
  }

  metric_query {
    id = "balancer"

    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "HTTPCode_ELB_5XX_Count"
      dimensions  = local.of_load_balancer
      stat        = "Sum"
      period      = 60
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  alarm_name                            = "${var.name}-latency"
  alarm_description                     = "One request of a hundred takes longer than ${var.latency_p99_seconds} s."
  comparison_operator                   = "GreaterThanThreshold"
  threshold                             = var.latency_p99_seconds
  namespace                             = "AWS/ApplicationELB"
  metric_name                           = "TargetResponseTime"
  dimensions                            = local.of_target_group
  extended_statistic                    = "p99"
  evaluate_low_sample_count_percentiles = "ignore"
  period                                = 60
  evaluation_periods                    = 5
  datapoints_to_alarm                   = 3
  treat_missing_data                    = "notBreaching"
  alarm_actions                         = var.alarm_actions
  ok_actions                            = var.alarm_actions
  tags                                  = local.tags
}

resource "aws_cloudwatch_metric_alarm" "unhealthy_hosts" {
  alarm_name          = "${var.name}-unhealthy-hosts"
  alarm_description   = "A task fails its health check."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  namespace           = "AWS/ApplicationELB"
  metric_name         = "UnHealthyHostCount"
  dimensions          = local.of_target_group
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "healthy_hosts" {
  alarm_name          = "${var.name}-healthy-hosts"
  alarm_description   = "No task is healthy: the service is down."
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  dimensions          = local.of_target_group
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  # The load balancer reports nothing where there is no target at all.
  treat_missing_data = "breaching"
  alarm_actions      = var.alarm_actions
  ok_actions         = var.alarm_actions
  tags               = local.tags
}
