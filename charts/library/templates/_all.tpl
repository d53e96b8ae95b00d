{{/*
All resources of a chart: (list $ "randomize.component"), with one named template for each component.
Such a template is YAML, or nothing if there is to be no such component. It says what only this
component knows:

  name: randomize             part of every resource's name, and a label
  role: server                a label; any other role is also appended to the names
  port: 5000                  the container's
  args: []                    of the container
  env: {NAME: value}          what the chart's values mean as environment variables
  secrets: {NAME: {secret, key}}   files in /etc/secrets, each with its variable NAME_FILE
  secretEnv: {NAME: {secret, key}} for variables that cannot be read from files
  volume: {mountPath}         with `persistence` a claim and a StatefulSet, else an emptyDir
  singleton: reason           why there must be one pod only
  clients: [name]             other components of the release that call it
  connects: [{port, protocol, peers}]   what else it connects to; no peers: anybody
  checks: [/path]             what the test pod asks
  values: worker              the key whose values win over the chart's
  internal: true              no Ingress, HTTPRoute, ExternalSecret or test of its own
  thirdParty: true            another maker's image: only the values of `exports.pod` are for it
  command, mounts, files, portName, gracePeriodSeconds, chart   for such images
*/}}
{{- define "library.all" -}}
{{- $root := first . -}}
{{- range $definition := rest . -}}
{{- if include $definition $root | trim -}}
{{- $scope := include "library.scope" (list $root $definition) | fromJson -}}
{{- $_ := set $scope "root" $root -}}
{{- $templates := list
  "serviceaccount" "configmap" "files" "pvc" "service" "deployment" "statefulset" "networkpolicy" -}}
{{- include "library.validatePod" $scope -}}
{{- if not $scope.component.thirdParty -}}
{{- include "library.validate" $scope -}}
{{- $templates = concat $templates (list "hpa" "scaledobject" "pdb" "servicemonitor" "cronjob") -}}
{{- if not $scope.component.internal -}}
{{- $templates = concat $templates (list "ingress" "httproute" "secretstore" "externalsecret" "test") -}}
{{- end -}}
{{- end -}}
{{- range $template := $templates -}}
{{- with include (printf "library.%s" $template) $scope | trim }}
---
{{ . }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "library.extraObjects" $root -}}
{{- end }}

{{/* What the values add to the resources of a chart. */}}
{{- define "library.extraObjects" -}}
{{- range .Values.extraObjects }}
---
{{ tpl (kindIs "string" . | ternary . (toYaml .)) $ }}
{{- end -}}
{{- end }}

{{/* Values that are a template: (list $root .Values.sidecars) */}}
{{- define "library.tpl" -}}
{{- tpl (index . 1 | toYaml) (index . 0) -}}
{{- end }}

{{/* What every template gets, but for `root`. */}}
{{- define "library.scope" -}}
{{- $root := index . 0 -}}
{{- $component := include (index . 1) $root | fromYaml -}}
{{- with $component.Error }}{{ fail (printf "%s: %s" (index $ 1) .) }}{{ end -}}
{{- $values := $root.Values -}}
{{- with $component.values -}}
{{- $values = mergeOverwrite (deepCopy $root.Values) (deepCopy (index $root.Values .)) -}}
{{- end -}}
{{- $role := $component.role | default "server" -}}
{{- $name := include "library.name" (dict "root" $root "values" $values "component" $component "role" $role) -}}
{{- $prefix := $root.Chart.IsRoot | ternary "" (printf "%s." $root.Chart.Name) -}}
{{- with $component.values }}{{ $prefix = printf "%s%s." $prefix . }}{{ end -}}
{{- $scaled := or ($values.autoscaling).enabled ($values.keda).enabled -}}
{{- $replicas := $values.replicaCount | default 1 | int -}}
{{- if ($values.autoscaling).enabled }}{{ $replicas = int $values.autoscaling.minReplicas }}{{ end -}}
{{- if ($values.keda).enabled }}{{ $replicas = int $values.keda.minReplicas }}{{ end -}}
{{- $claims := and $component.volume $values.persistence $values.persistence.enabled -}}
{{- $global := $root.Values.global | default dict -}}
{{- /* Our registry and tag mean nothing to another maker's image. */ -}}
{{- $globalImage := dict -}}
{{- if not $component.thirdParty }}{{ $globalImage = $global.image | default dict }}{{ end -}}
{{- dict "component" $component "values" $values "global" $global "globalImage" $globalImage
  "role" $role "name" $name "prefix" $prefix "scaled" (not (not $scaled))
  "replicas" $replicas "claims" (not (not $claims)) | toJson -}}
{{- end }}

{{/* Ends the render: (list $ "database.existingSecret" "what to do"), in a chart's own template. */}}
{{- define "library.fail" -}}
{{- $root := index . 0 -}}
{{- $prefix := $root.Chart.IsRoot | ternary "" (printf "%s." $root.Chart.Name) -}}
{{- fail (printf "\n\n%s%s: %s\n" $prefix (index . 1) (index . 2)) -}}
{{- end }}

{{/* What no schema can say, because it is about several values together. */}}
{{- define "library.validate" -}}
{{- $values := .values -}}
{{- $prefix := .prefix -}}
{{- with .component.singleton -}}
{{- if $values.autoscaling.enabled }}{{ fail (printf "\n\n%sautoscaling.enabled: must be false: %s\n" $prefix .) }}{{ end -}}
{{- if $values.keda.enabled }}{{ fail (printf "\n\n%skeda.enabled: must be false: %s\n" $prefix .) }}{{ end -}}
{{- if gt (int $values.replicaCount) 1 }}{{ fail (printf "\n\n%sreplicaCount: must be 1: %s\n" $prefix .) }}{{ end -}}
{{- end -}}
{{- if and $values.autoscaling.enabled $values.keda.enabled -}}
{{- fail (printf "\n\n%skeda.enabled: must be false where autoscaling.enabled is true: only one of them can own the number of pods\n" $prefix) -}}
{{- end -}}
{{- if and $values.keda.enabled (not $values.keda.triggers) -}}
{{- fail (printf "\n\n%skeda.triggers: is empty: say what KEDA is to scale by\n" $prefix) -}}
{{- end -}}
{{- if and $values.forceHttps (not $values.trustedProxies) -}}
{{- fail (printf "\n\n%strustedProxies: is empty: forceHttps goes by what a proxy reports, so name the networks of the proxies, such as 10.0.0.0/8\n" $prefix) -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
{{- fail (printf "\n\n%singress.hosts: is empty: name at least one host\n" $prefix) -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- fail (printf "\n\n%shttpRoute.parentRefs: is empty: name the Gateway to attach to\n" $prefix) -}}
{{- end -}}
{{- if $values.externalSecrets.enabled -}}
{{- if and $values.externalSecrets.store.create (not $values.externalSecrets.store.provider) -}}
{{- fail (printf "\n\n%sexternalSecrets.store.provider: is empty: say where the secrets are, as in spec.provider of a SecretStore\n" $prefix) -}}
{{- end -}}
{{- if not (or $values.externalSecrets.store.create $values.externalSecrets.store.name) -}}
{{- fail (printf "\n\n%sexternalSecrets.store.name: is empty: name the store, or let externalSecrets.store.create make one\n" $prefix) -}}
{{- end -}}
{{- end -}}
{{- if eq (int $values.adminPort) (int .component.port) -}}
{{- fail (printf "\n\n%sadminPort: must not be %d, the port of the service itself\n" $prefix (int .component.port)) -}}
{{- end -}}
{{- end }}

{{/* Names that are taken in a pod, as no schema can know them. */}}
{{- define "library.validatePod" -}}
{{- $values := .values -}}
{{- $prefix := .prefix -}}
{{- $own := include "library.env" . | fromYaml -}}
{{- range $name, $_ := $values.env -}}
{{- if hasKey $own $name -}}
{{- fail (printf "\n\n%senv.%s: the chart sets this variable itself, from a value of its own: see its README\n" $prefix $name) -}}
{{- end -}}
{{- if or (hasKey ($.component.secrets | default dict) $name) (hasKey ($.component.secretEnv | default dict) $name) -}}
{{- fail (printf "\n\n%senv.%s: is a secret: name the Secret instead, see the chart's README\n" $prefix $name) -}}
{{- end -}}
{{- end -}}
{{- range $volume := include "library.tpl" (list .root $values.extraVolumes) | fromYamlArray -}}
{{- if regexMatch "^(tmp|data|secrets|files|scratch-[0-9]+)$" $volume.name -}}
{{- fail (printf "\n\n%sextraVolumes: the chart has a volume %s itself: choose another name\n" $prefix $volume.name) -}}
{{- end -}}
{{- end -}}
{{- end }}
