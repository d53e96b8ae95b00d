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
  description = "Name of the service, and of its repository."
  type        = string
  default     = "sre-kata"
}
