{{/*
The name of a component's resources, where no value says otherwise: (list $ "data-api"), and a role
such as "worker" as a third.
The component's name is fixed, because in an umbrella the chart's is an alias and no DNS label. At
most 39 characters without the role, so that `-worker-check` makes 52, the most that the name of a
CronJob may have. What had to be changed to fit gets a hash of what it was, so that no two releases
share a name.
*/}}
{{- define "library.fullname" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $wanted := $component -}}
{{- if ne $root.Release.Name $component -}}
{{- $wanted = printf "%s-%s" $root.Release.Name $component -}}
{{- end -}}
{{- $name := $wanted | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $name -}}
{{- $name = printf "r%s" $name -}}
{{- end -}}
{{- if or (ne $name $wanted) (gt (len $name) 39) -}}
{{- $name = printf "%s-%s" ($name | trunc 30 | trimSuffix "-") ($wanted | sha256sum | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- if gt (len .) 2 -}}-{{ index . 2 }}{{- end -}}
{{- end }}

{{/*
The same with the chart's overrides: (dict "root" $ "values" .Values "component" (dict "name" ..)
"role" "server"). What is one of several in a chart appends what it is.
*/}}
{{- define "library.name" -}}
{{- $name := .component.name -}}
{{- $several := .component.chart -}}
{{- with .values.nameOverride -}}
{{- $name = empty $several | ternary . (printf "%s-%s" . $name) -}}
{{- end -}}
{{- if .values.fullnameOverride -}}
{{- .values.fullnameOverride -}}
{{- if $several -}}-{{ .component.name }}{{- end -}}
{{- else -}}
{{- include "library.fullname" (list .root $name) -}}
{{- end -}}
{{- if ne .role "server" -}}-{{ .role }}{{- end -}}
{{- end }}

{{/* What pods are selected by. It must never change: selectors are immutable. */}}
{{- define "library.selectorLabels" -}}
app.kubernetes.io/name: {{ .component.name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "library.labels" -}}
{{ include "library.selectorLabels" . }}
{{ include "library.commonLabels" . }}
{{- end }}

{{/* Of the pods that call the service: no selector of a Service or workload may match them. */}}
{{- define "library.checkLabels" -}}
app.kubernetes.io/name: {{ .component.name }}-check
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: check
{{- end }}

{{- define "library.commonLabels" -}}
app.kubernetes.io/version: {{ empty .component.thirdParty | ternary .root.Chart.AppVersion ((.values).image).tag | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (.component.chart | default .component.name) .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .global.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "library.serviceAccountName" -}}
{{- if .values.serviceAccount.create -}}
{{ .values.serviceAccount.name | default .name }}
{{- else -}}
{{ .values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "library.claimName" -}}
{{ .values.persistence.existingClaim | default (printf "%s-data" .name) }}
{{- end }}

{{- define "library.image" -}}
{{- $image := .values.image -}}
{{- with $image.registry | default .globalImage.registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ $image.tag | default .globalImage.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "library.imagePullPolicy" -}}
{{ .values.image.pullPolicy | default .globalImage.pullPolicy | default "IfNotPresent" }}
{{- end }}
