variable "name" {
  description = "Prefix of every name, and the only prefix of what the deploy role may change."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "The name must have 3 to 20 characters: lower-case letters, digits and hyphens; a letter first, no hyphen last."
  }
}

variable "state_bucket" {
  description = "Name of the state bucket. The default is \"<name>-tfstate-<account>-<region>\"."
  type        = string
  default     = null

  validation {
    condition     = var.state_bucket == null || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "The bucket's name must have 3 to 63 characters: lower-case letters, digits and hyphens. Dots break TLS."
  }
}

variable "state_retention_days" {
  description = "How many days earlier versions of a state are kept."
  type        = number
  default     = 90

  validation {
    condition     = var.state_retention_days >= 7 && floor(var.state_retention_days) == var.state_retention_days
    error_message = "Earlier versions of a state must be kept for at least 7 whole days: they are the only backup."
  }
}

variable "force_destroy" {
  description = "Whether the state bucket can be destroyed while it holds states."
  type        = bool
  default     = false
}

variable "github_repository" {
  description = "The repository whose workflows deploy, as \"owner/name\"."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "The repository must be given as \"owner/name\", without wildcards."
  }
}

variable "github_ids" {
  description = "The numeric ids of the owner and the repository, for repositories with immutable subject claims. `gh api repos/<owner>/<name> --jq '[.owner.id, .id]'` prints them."
  type = object({
    owner      = number
    repository = number
  })
  default = null

  validation {
    condition     = var.github_ids == null ? true : var.github_ids.owner > 0 && var.github_ids.repository > 0
    error_message = "Both ids must be positive numbers."
  }
}

variable "github_environments" {
  description = "The GitHub environments whose jobs may assume the role. Protect each with required reviewers and a branch rule: whoever can run a job in one can deploy."
  type        = set(string)
  default     = ["production"]

  validation {
    condition     = length(var.github_environments) > 0 && alltrue([for name in var.github_environments : can(regex("^[A-Za-z0-9._-]+$", name))])
    error_message = "At least one environment is required; names may have letters, digits, dots, hyphens and underscores, no wildcards."
  }
}

variable "oidc_provider_arn" {
  description = "ARN of the account's identity provider for token.actions.githubusercontent.com. An account can have only one; null makes it."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_provider_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.oidc_provider_arn))
    error_message = "The ARN must end in \":oidc-provider/token.actions.githubusercontent.com\"."
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
