output "dns_name" {
  description = "The load balancer's name. Your own domain is a CNAME of it, or in Route 53 an alias."
  value       = aws_lb.this.dns_name
}

output "zone_id" {
  description = "The load balancer's hosted zone, for an alias record in Route 53."
  value       = aws_lb.this.zone_id
}

output "load_balancer_arn" {
  description = "ARN of the load balancer."
  value       = aws_lb.this.arn
}

output "cluster_name" {
  description = "Name of the ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "service_name" {
  description = "Name of the ECS service."
  value       = aws_ecs_service.this.name
}

output "task_definition_arn" {
  description = "ARN of the task definition that runs, with its revision."
  value       = aws_ecs_task_definition.this.arn
}

output "log_group_name" {
  description = "Log group of the service."
  value       = aws_cloudwatch_log_group.service.name
}

output "alarm_arns" {
  description = "ARNs of the alarms, by what they watch."
  value = {
    errors          = aws_cloudwatch_metric_alarm.errors.arn
    healthy_hosts   = aws_cloudwatch_metric_alarm.healthy_hosts.arn
    latency         = aws_cloudwatch_metric_alarm.latency.arn
    unhealthy_hosts = aws_cloudwatch_metric_alarm.unhealthy_hosts.arn
  }
}

output "task_security_group_id" {
  description = "Security group of the tasks, for rules of what they may reach."
  value       = aws_security_group.tasks.id
}

output "trusted_proxies" {
  description = "TRUSTED_PROXIES of the service."
  value       = local.environment.TRUSTED_PROXIES
}
