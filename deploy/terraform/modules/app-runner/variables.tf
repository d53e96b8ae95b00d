variable "name" {
  description = "Name of the service and prefix of what belongs to it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,18}[a-z0-9]$", var.name))
    error_message = "The name must have 4 to 20 characters: lower-case letters, digits and hyphens; a letter first, no hyphen last."
  }
}

variable "image" {
  description = "The image in ECR, by digest: \"<account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<digest>\". It must be for X86_64."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "The image must be in ECR and be given by its digest, <account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<64 hexadecimal digits>. A tag does not say what runs."
  }
}

variable "port" {
  description = "The port that the service listens on."
  type        = number
  default     = 8003

  validation {
    condition     = var.port >= 1024 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "The port must be from 1024 to 65535: the service is not root."
  }
}

variable "environment" {
  description = "Environment variables of the service. Those that this module sets are refused. App Runner itself sets PORT."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["PORT", "TRUSTED_PROXIES", "FORCE_HTTPS", "TLS_CERT_FILE", "TLS_KEY_FILE"])) == 0
    error_message = "PORT, TRUSTED_PROXIES and FORCE_HTTPS follow from other variables, and TLS ends at App Runner."
  }
}

variable "force_https" {
  description = "FORCE_HTTPS of the service. App Runner redirects plain HTTP by itself; this adds HSTS. Set it to false if App Runner reports requests over HTTPS as `X-Forwarded-Proto: http`: they would be redirected for ever."
  type        = bool
  default     = true
}

variable "trusted_proxies" {
  description = "TRUSTED_PROXIES of the service. AWS does not document where App Runner's requests come from; nobody else can reach the service, so all private networks are trusted."
  type        = list(string)
  default     = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]

  validation {
    condition     = length(var.trusted_proxies) > 0 && alltrue([for cidr in var.trusted_proxies : can(cidrhost(cidr, 0))])
    error_message = "At least one network is required, such as 10.0.0.0/8."
  }
}

variable "health_check_path" {
  description = "The path that App Runner asks; healthy is 200."
  type        = string
  default     = "/healthcheck"

  validation {
    condition     = can(regex("^/[A-Za-z0-9/_.-]*$", var.health_check_path))
    error_message = "The path must begin with a slash and have no query."
  }
}

variable "cpu" {
  description = "CPU units of an instance; 1024 are one vCPU."
  type        = number
  default     = 256

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.cpu)
    error_message = "App Runner has instances of 256, 512, 1024, 2048 or 4096 CPU units."
  }
}

variable "memory" {
  description = "Memory of an instance in MiB. App Runner allows only some sizes for each number of CPU units."
  type        = number
  default     = 512

  validation {
    condition = contains(lookup({
      "256"  = [512, 1024]
      "512"  = [1024]
      "1024" = [2048, 3072, 4096]
      "2048" = [4096, 6144]
      "4096" = [8192, 10240, 12288]
    }, tostring(var.cpu), []), var.memory)
    error_message = "App Runner has no instance of this memory with this many CPU units: 256 go with 512 or 1024 MiB, 512 with 1024, 1024 with 2048, 3072 or 4096, 2048 with 4096 or 6144, 4096 with 8192, 10240 or 12288."
  }
}

variable "min_instances" {
  description = "The fewest instances that are kept; idle ones cost their memory."
  type        = number
  default     = 1

  validation {
    condition     = var.min_instances >= 1 && var.min_instances <= 25 && floor(var.min_instances) == var.min_instances
    error_message = "App Runner keeps from 1 to 25 instances."
  }
}

variable "max_instances" {
  description = "The most instances that run."
  type        = number
  default     = 4

  validation {
    condition     = var.max_instances >= var.min_instances && var.max_instances <= 25 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances must not be less than min_instances, and at most 25."
  }
}

variable "max_concurrency" {
  description = "Instances are added when each has more requests in flight than this."
  type        = number
  default     = 100

  validation {
    condition     = var.max_concurrency >= 1 && var.max_concurrency <= 200 && floor(var.max_concurrency) == var.max_concurrency
    error_message = "The requests in flight must be from 1 to 200."
  }
}

variable "domain_name" {
  description = "A domain of yours that the service answers to, beside its own. The output domain_records says what to add to DNS."
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null || can(regex("^([a-z0-9*]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain_name))
    error_message = "The domain must be a DNS name in lower case, such as kata.example.org."
  }
}

variable "rate_limit" {
  description = "How many requests one client address may make in 5 minutes before the web ACL blocks it."
  type        = number
  default     = 2000

  validation {
    condition     = var.rate_limit >= 10
    error_message = "The rate limit must be at least 10 requests in 5 minutes."
  }
}

variable "log_retention_days" {
  description = "How many days the web ACL's log is kept. App Runner makes the service's own log groups, and they keep everything until you set their retention."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch Logs keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "permissions_boundary" {
  description = "ARN of the permissions boundary of the roles; the role of the module bootstrap can make none without it."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:policy/", var.permissions_boundary))
    error_message = "The boundary must be the ARN of an IAM policy."
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
