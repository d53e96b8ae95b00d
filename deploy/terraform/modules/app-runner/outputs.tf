output "url" {
  description = "The service's URL at App Runner."
  value       = "https://${aws_apprunner_service.this.service_url}"
}

output "service_arn" {
  description = "ARN of the service."
  value       = aws_apprunner_service.this.arn
}

output "domain_records" {
  description = "What to add to DNS for domain_name: `target` is where its CNAME leads, `validation` are the records that prove that it is yours. null without a domain."
  value = var.domain_name == null ? null : {
    target     = aws_apprunner_custom_domain_association.this[0].dns_target
    validation = aws_apprunner_custom_domain_association.this[0].certificate_validation_records
  }
}
