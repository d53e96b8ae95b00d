output "arn" {
  description = "ARN of the web ACL, for associations."
  value       = aws_wafv2_web_acl.this.arn
}

output "log_group_name" {
  description = "Log group of the requests that a rule blocked or counted."
  value       = aws_cloudwatch_log_group.this.name
}
