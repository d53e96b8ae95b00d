output "backend" {
  description = "Lines for backend.hcl."
  value       = module.bootstrap.backend
}

output "role_arn" {
  description = "The role that workflows assume."
  value       = module.bootstrap.role_arn
}

output "permissions_boundary_arn" {
  description = "permissions_boundary of the other examples."
  value       = module.bootstrap.permissions_boundary_arn
}
