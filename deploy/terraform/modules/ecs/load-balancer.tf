resource "aws_security_group" "alb" {
  name        = "${var.name}-alb"
  description = "The load balancer of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  # checkov:skip=CKV_AWS_260:port 80 only redirects to 443
  for_each = {
    for pair in setproduct(var.client_cidrs, [80, 443]) : "${pair[0]} ${pair[1]}" => { cidr = pair[0], port = pair[1] }
  }

  security_group_id = aws_security_group.alb.id
  description       = "Clients"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "alb_to_tasks" {
  security_group_id            = aws_security_group.alb.id
  description                  = "The tasks, and nothing else"
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
  tags                         = local.tags
}

resource "aws_lb" "this" {
  # The bucket must allow it first: the load balancer tries to write at once.
  depends_on = [aws_s3_bucket_policy.access_log]

  name                       = var.name
  load_balancer_type         = "application"
  subnets                    = var.alb_subnets[*].id
  security_groups            = [aws_security_group.alb.id]
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "defensive"
  enable_deletion_protection = var.deletion_protection
  # Less than the 75 s for which the service keeps an idle connection: whoever closes first must be
  # the side that sends requests, or some are answered 502.
  idle_timeout = 60
  tags         = local.tags

  access_logs {
    bucket  = aws_s3_bucket.access_log.bucket
    enabled = true
  }
}

resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378:TLS ends at the load balancer; from there to the task it is the VPC, and security groups
  # A change of the port replaces the group, and two of them need two names.
  name        = "${var.name}-${var.port}"
  vpc_id      = var.vpc_id
  target_type = "ip"
  protocol    = "HTTP"
  port        = var.port
  # How long requests in flight may take after a task is taken out of service. ECS sends SIGTERM
  # after that, so requests get here what the service would give them itself.
  deregistration_delay          = local.deregistration_delay
  load_balancing_algorithm_type = "least_outstanding_requests"
  tags                          = local.tags

  health_check {
    path                = var.health_check_path
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  certificate_arn   = var.certificate_arn
  # TLS 1.3, and 1.2 with forward secrecy.
  ssl_policy = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  tags       = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTP"
  port              = 80
  tags              = local.tags

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  resource_arn = aws_lb.this.arn
  web_acl_arn  = module.web_acl.arn
}
