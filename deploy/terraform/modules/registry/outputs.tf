output "repository_urls" {
  description = "Where images are pushed to and pulled from, by repository."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "repository_arns" {
  description = "ARNs of the repositories, by repository."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.arn }
}

output "key_arn" {
  description = "ARN of the KMS key that encrypts the images."
  value       = aws_kms_key.images.arn
}
