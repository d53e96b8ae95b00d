variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must be one of AWS, such as eu-west-1."
  }
}

variable "environment" {
  description = "Value of the tag Environment."
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment))
    error_message = "The environment must be a word in lower case."
  }
}

variable "name" {
  description = "Name of the service."
  type        = string
  default     = "sre-kata"
}

variable "image" {
  description = "The image in ECR, by digest. The module says what it must look like."
  type        = string
}

variable "certificate_arn" {
  description = "ARN of the certificate in ACM."
  type        = string
}

variable "vpc_cidr" {
  description = "The VPC's network, a /16."
  type        = string
  default     = "10.80.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && endswith(var.vpc_cidr, "/16")
    error_message = "The network must be an IPv4 /16, such as 10.80.0.0/16."
  }
}

variable "zones" {
  description = "The letters of two availability zones of the region."
  type        = list(string)
  default     = ["a", "b"]

  validation {
    condition     = length(distinct(var.zones)) == 2 && alltrue([for zone in var.zones : can(regex("^[a-z]$", zone))])
    error_message = "Two zones are required, by their letters, such as [\"a\", \"b\"]."
  }
}

variable "alarm_actions" {
  description = "ARNs of SNS topics that alarms tell."
  type        = list(string)
  default     = []
}

variable "permissions_boundary" {
  description = "The bootstrap's permissions_boundary_arn."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether the load balancer and its log refuse to be destroyed."
  type        = bool
  default     = true
}
