output "dns_name" {
  description = "Where your domain's CNAME leads."
  value       = module.ecs.dns_name
}

output "log_group_name" {
  description = "Log group of the service."
  value       = module.ecs.log_group_name
}
