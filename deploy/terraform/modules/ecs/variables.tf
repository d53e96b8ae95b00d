variable "name" {
  description = "Name of the service and prefix of what belongs to it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "The name must have 3 to 20 characters: lower-case letters, digits and hyphens; a letter first, no hyphen last."
  }
}

# The image ----------------------------------------------------------------------------------------

variable "image" {
  description = "The image in ECR, by digest: \"<account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<digest>\"."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "The image must be in ECR and be given by its digest, <account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<64 hexadecimal digits>. A tag does not say what runs."
  }
}

variable "architecture" {
  description = "The processor that the image is for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "The architecture must be X86_64 or ARM64."
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
  description = "Environment variables of the service. Those that this module sets are refused."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["PORT", "TRUSTED_PROXIES", "FORCE_HTTPS", "DRAIN_DELAY", "SHUTDOWN_GRACE_PERIOD", "TLS_CERT_FILE", "TLS_KEY_FILE"])) == 0
    error_message = "PORT, TRUSTED_PROXIES, FORCE_HTTPS, DRAIN_DELAY and SHUTDOWN_GRACE_PERIOD follow from other variables, and TLS ends at the load balancer."
  }
}

variable "health_check_path" {
  description = "The path that the load balancer asks; healthy is 200."
  type        = string
  default     = "/healthcheck"

  validation {
    condition     = can(regex("^/[A-Za-z0-9/_.-]*$", var.health_check_path))
    error_message = "The path must begin with a slash and have no query."
  }
}

variable "health_check_command" {
  description = "What the container runs to find out whether it is alive, program and arguments. null: \"/<repository> healthcheck\", as in this project's images."
  type        = list(string)
  default     = null

  validation {
    condition     = var.health_check_command == null ? true : length(var.health_check_command) > 0
    error_message = "The command must name a program."
  }
}

# Size ---------------------------------------------------------------------------------------------

variable "cpu" {
  description = "CPU units of a task; 1024 are one vCPU."
  type        = number
  default     = 256

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "Fargate has tasks of 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units."
  }
}

variable "memory" {
  description = "Memory of a task in MiB. Fargate allows only some sizes for each number of CPU units."
  type        = number
  default     = 512

  validation {
    condition = contains(lookup({
      "256"   = [512, 1024, 2048]
      "512"   = [for i in range(1, 5) : i * 1024]
      "1024"  = [for i in range(2, 9) : i * 1024]
      "2048"  = [for i in range(4, 17) : i * 1024]
      "4096"  = [for i in range(8, 31) : i * 1024]
      "8192"  = [for i in range(16, 61, 4) : i * 1024]
      "16384" = [for i in range(32, 121, 8) : i * 1024]
    }, tostring(var.cpu), []), var.memory)
    error_message = "Fargate has no task of this memory with this many CPU units: 256 go with 512, 1024 or 2048 MiB, 512 with 1 to 4 GiB, 1024 with 2 to 8 GiB, 2048 with 4 to 16 GiB, 4096 with 8 to 30 GiB, 8192 with 16 to 60 GiB in steps of 4, 16384 with 32 to 120 GiB in steps of 8."
  }
}

variable "min_tasks" {
  description = "The fewest tasks that run. From two on they are spread over availability zones."
  type        = number
  default     = 2

  validation {
    condition     = var.min_tasks >= 1 && floor(var.min_tasks) == var.min_tasks
    error_message = "At least one task must run."
  }
}

variable "max_tasks" {
  description = "The most tasks that run."
  type        = number
  default     = 6

  validation {
    condition     = var.max_tasks >= var.min_tasks && floor(var.max_tasks) == var.max_tasks
    error_message = "max_tasks must not be less than min_tasks."
  }
}

variable "cpu_target" {
  description = "Tasks are added and removed to keep the average CPU utilization at this percentage."
  type        = number
  default     = 60

  validation {
    condition     = var.cpu_target >= 10 && var.cpu_target <= 90
    error_message = "The CPU target must be from 10 to 90 percent."
  }
}

variable "requests_per_target" {
  description = "Tasks are added and removed to keep the requests in a minute to each of them at this number."
  type        = number
  default     = 30000

  validation {
    condition     = var.requests_per_target > 0
    error_message = "The requests in a minute to each task must be more than 0."
  }
}

# Stop ---------------------------------------------------------------------------------------------

variable "drain_delay" {
  description = "DRAIN_DELAY of the service in seconds: how long it still takes requests after SIGTERM."
  type        = number
  default     = 5

  validation {
    condition     = var.drain_delay >= 0 && floor(var.drain_delay) == var.drain_delay
    error_message = "The drain delay must be a whole number of seconds, 0 or more."
  }
}

variable "shutdown_grace_period" {
  description = "SHUTDOWN_GRACE_PERIOD of the service in seconds: how long requests that it has read may take to finish after that."
  type        = number
  default     = 20

  validation {
    # 16 s: see stop_timeout in service.tf.
    condition     = var.shutdown_grace_period >= 1 && floor(var.shutdown_grace_period) == var.shutdown_grace_period && var.drain_delay + var.shutdown_grace_period + 16 <= 120
    error_message = "The grace period must be a whole number of seconds, at least 1, and with the drain delay at most 104: Fargate kills a task 120 s after SIGTERM, and the service needs up to 16 s more."
  }
}

# The network --------------------------------------------------------------------------------------

variable "vpc_id" {
  description = "Id of the VPC."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.vpc_id))
    error_message = "The VPC must be given by its id, such as vpc-0123456789abcdef0, not by its ARN or name."
  }
}

variable "alb_subnets" {
  description = "The public subnets of the load balancer, with their IPv4 networks: these are the proxies that the service trusts. A list of `aws_subnet` fits as it is."
  type = list(object({
    id         = string
    cidr_block = string
  }))

  validation {
    condition     = length(var.alb_subnets) >= 2
    error_message = "A load balancer needs subnets in at least two availability zones."
  }

  validation {
    condition     = alltrue([for subnet in var.alb_subnets : can(cidrnetmask(subnet.cidr_block))])
    error_message = "Each subnet needs its IPv4 network, such as 10.0.0.0/24."
  }
}

variable "task_subnet_ids" {
  description = "Ids of the private subnets of the tasks. From there ECR, S3 and CloudWatch Logs must be reached, by VPC endpoints or a NAT gateway."
  type        = list(string)

  validation {
    condition     = length(var.task_subnet_ids) >= 2
    error_message = "The tasks need subnets in at least two availability zones."
  }
}

variable "client_cidrs" {
  description = "The IPv4 networks of clients."
  type        = set(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.client_cidrs) > 0 && alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "At least one IPv4 network is required, such as 203.0.113.0/24."
  }
}

variable "certificate_arn" {
  description = "ARN of the certificate in ACM, in the same region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "The ARN must be that of a certificate in ACM: arn:aws:acm:<region>:<account>:certificate/<id>."
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

variable "deletion_protection" {
  description = "Whether the load balancer refuses to be destroyed, and the bucket of its access log while it is not empty."
  type        = bool
  default     = true
}

# Logs, alarms, roles ------------------------------------------------------------------------------

variable "log_retention_days" {
  description = "How many days logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch Logs keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "alarm_actions" {
  description = "ARNs of what an alarm tells, such as an SNS topic, when it goes off and when it is over."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "Actions are given as ARNs."
  }
}

variable "error_ratio_percent" {
  description = "An alarm goes off above this percentage of answers 5xx, of the service and the load balancer together. A deployment during which it does is rolled back."
  type        = number
  default     = 1

  validation {
    condition     = var.error_ratio_percent > 0 && var.error_ratio_percent < 100
    error_message = "The percentage must be between 0 and 100."
  }
}

variable "latency_p99_seconds" {
  description = "An alarm goes off if the slowest of a hundred requests takes longer."
  type        = number
  default     = 0.5

  validation {
    condition     = var.latency_p99_seconds > 0
    error_message = "The latency must be more than 0 s."
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
