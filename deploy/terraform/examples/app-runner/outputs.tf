output "url" {
  description = "The service's URL at App Runner."
  value       = module.app_runner.url
}

output "domain_records" {
  description = "What to add to DNS."
  value       = module.app_runner.domain_records
}
