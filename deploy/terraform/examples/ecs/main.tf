module "ecs" {
  source = "../../modules/ecs"
  # A task that starts before the endpoints are there cannot pull its image.
  depends_on = [aws_vpc_endpoint.interface, aws_vpc_endpoint.s3]

  name                 = var.name
  image                = var.image
  certificate_arn      = var.certificate_arn
  vpc_id               = aws_vpc.this.id
  alb_subnets          = aws_subnet.public[*]
  task_subnet_ids      = aws_subnet.private[*].id
  alarm_actions        = var.alarm_actions
  permissions_boundary = var.permissions_boundary
  deletion_protection  = var.deletion_protection
}
