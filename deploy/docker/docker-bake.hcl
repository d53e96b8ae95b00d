# What is published: every service for both architectures, with what it was built from (provenance)
# and what is in it (SBOM). From the root of the repository, as .github/workflows/images.yaml does:
#   REGISTRY=registry.example.org/team docker buildx bake --file deploy/docker/docker-bake.hcl --push
# Attestations need a builder of the driver docker-container: `docker buildx create --use`.

variable "REGISTRY" {
  default = ""
}
variable "VERSION" {
  default = "0.0.0"
}
variable "REVISION" {
  default = "unknown"
}
variable "CREATED" {
  default = "1970-01-01T00:00:00Z"
}
variable "SOURCE" {
  default = ""
}
# Those of the images that are pushed, separated by commas; empty: the version and the revision.
variable "TAGS" {
  default = ""
}
variable "PLATFORMS" {
  default = "linux/amd64,linux/arm64"
}

target "default" {
  name       = service
  matrix     = { service = ["backend-api", "data-api", "multivac", "randomize", "sre-kata", "stakefish"] }
  dockerfile = "deploy/docker/Dockerfile"
  target     = service
  platforms  = split(",", PLATFORMS)
  args = {
    VERSION  = VERSION
    REVISION = REVISION
    CREATED  = CREATED
    SOURCE   = SOURCE
  }
  tags = [
    for tag in split(",", TAGS == "" ? "${VERSION},${REVISION}" : TAGS) :
    "${REGISTRY}${REGISTRY == "" ? "" : "/"}${service}:${tag}"
  ]
  attest = ["type=provenance,mode=max", "type=sbom"]
}
