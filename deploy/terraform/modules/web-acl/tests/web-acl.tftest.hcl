# AWS answers from here: no account, no credentials. What one resource hands to another has the form
# that AWS gives it, because the provider checks it.
mock_provider "aws" {
  mock_resource "aws_wafv2_web_acl" {
    defaults = { arn = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/mock/00000000-0000-0000-0000-000000000002" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:mock" }
  }
}

variables {
  name        = "kata"
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-96ef-1234567890ab"
  rate_limit  = 500
}

run "clients_are_limited_and_filtered" {
  assert {
    condition = [
      for rule in aws_wafv2_web_acl.this.rule : rule.statement[0].rate_based_statement[0].limit
      if rule.priority == 0
    ] == [500]
    error_message = "The rate limit must be the first rule."
  }

  assert {
    condition = toset([
      for rule in aws_wafv2_web_acl.this.rule : rule.statement[0].managed_rule_group_statement[0].name
      if rule.priority > 0
      ]) == toset([
      "AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet",
    ])
    error_message = "AWS's managed rules must be there."
  }

  assert {
    condition = toset(flatten([
      for rule in aws_wafv2_web_acl.this.rule : [
        for override in rule.statement[0].managed_rule_group_statement[0].rule_action_override : override.name
      ] if rule.name == "AWSManagedRulesCommonRuleSet"
    ])) == toset(["SizeRestrictions_BODY", "SizeRestrictions_QUERYSTRING"])
    error_message = "Bodies and queries of more than 8 and 2 KiB must reach the service."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "aws-waf-logs-kata" && aws_cloudwatch_log_group.this.kms_key_id == var.kms_key_arn && aws_cloudwatch_log_group.this.retention_in_days == 365
    error_message = "The log must have the name that WAF asks for, the key, and a retention."
  }

  assert {
    condition = toset(flatten([
      for field in aws_wafv2_web_acl_logging_configuration.this.redacted_fields : field.single_header[*].name
    ])) == toset(["authorization", "cookie"])
    error_message = "Credentials must not be logged."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    name               = "Kata"
    rate_limit         = 1
    count_only         = ["Size Restrictions"]
    log_retention_days = 2
    kms_key_arn        = "alias/logs"
    tags               = { "aws:name" = "x" }
  }

  expect_failures = [
    var.name, var.rate_limit, var.count_only, var.log_retention_days, var.kms_key_arn, var.tags,
  ]
}
