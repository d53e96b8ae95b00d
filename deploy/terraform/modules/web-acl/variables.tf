variable "name" {
  description = "Name of the web ACL, and prefix of its metrics."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,62}[a-z0-9]$", var.name))
    error_message = "The name must have 3 to 64 characters: lower-case letters, digits and hyphens; a letter first, no hyphen last."
  }
}

variable "rate_limit" {
  description = "How many requests one client address may make in 5 minutes. More are answered 403 until its rate falls."
  type        = number
  default     = 2000

  validation {
    condition     = var.rate_limit >= 10 && var.rate_limit <= 2000000000 && floor(var.rate_limit) == var.rate_limit
    error_message = "The rate limit must be a whole number from 10 to 2000000000 requests in 5 minutes."
  }
}

variable "count_only" {
  description = "Rules of AWSManagedRulesCommonRuleSet that only count. The default are the two size limits, 8 KiB of body and 2 KiB of query, which the services set for themselves (BODY_LIMIT)."
  type        = set(string)
  default     = ["SizeRestrictions_BODY", "SizeRestrictions_QUERYSTRING"]

  validation {
    condition     = alltrue([for rule in var.count_only : can(regex("^[A-Za-z0-9_]+$", rule))])
    error_message = "A rule's name has letters, digits and underscores, such as SizeRestrictions_BODY."
  }
}

variable "log_retention_days" {
  description = "How many days the log of requests that a rule matched is kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch Logs keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the log; CloudWatch Logs must be allowed to use it."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:kms:", var.kms_key_arn))
    error_message = "The key must be given by its ARN: arn:aws:kms:<region>:<account>:key/<id>."
  }
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.tags : !startswith(lower(key), "aws:") && length(key) <= 128 && length(value) <= 256])
    error_message = "A tag's key has at most 128 characters and does not begin with \"aws:\", its value at most 256."
  }
}
