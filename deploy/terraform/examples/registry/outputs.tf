output "repository_url" {
  description = "Where the image is pushed to: `make push` with REGISTRY as its part before the last slash."
  value       = module.registry.repository_urls[var.name]
}
