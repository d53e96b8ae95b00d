{{/* The variables that values stand for. */}}
{{- define "library.env" -}}
{{- if not .component.thirdParty -}}
PORT: {{ .component.port | quote }}
LOG_LEVEL: {{ .values.logLevel | quote }}
DRAIN_DELAY: {{ printf "%ds" (int .values.drainDelaySeconds) }}
SHUTDOWN_GRACE_PERIOD: {{ printf "%ds" (int .values.shutdownGracePeriodSeconds) }}
{{- with .values.adminPort }}
ADMIN_PORT: {{ . | quote }}
{{- end }}
{{- with .values.trustedProxies }}
TRUSTED_PROXIES: {{ join "," . | quote }}
{{- end }}
{{- if .values.forceHttps }}
FORCE_HTTPS: "true"
{{- end }}
{{- if ne .values.rateLimit "none" }}
RATE_LIMIT: {{ .values.rateLimit | quote }}
{{- end }}
{{- with .values.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end }}
{{- range $name, $value := .component.env }}
{{ $name }}: {{ include "library.text" $value | quote }}
{{- end }}
{{- range $name, $_ := .component.secrets }}
{{ $name }}_FILE: /etc/secrets/{{ $name }}
{{- end }}
{{- end }}

{{/* A value as text. Helm's numbers are floating, and would print a million as 1e+06. */}}
{{- define "library.text" -}}
{{- kindIs "string" . | ternary . (toJson .) -}}
{{- end }}

{{- define "library.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
data:
  {{- include "library.env" . | trim | nindent 2 }}
  {{- range $name, $value := .values.env }}
  {{- if kindIs "map" $value }}{{ continue }}{{ end }}
  {{ $name }}: {{ include "library.text" $value | quote }}
  {{- end }}
{{- end }}

{{/* Files for an image that is configured by files. */}}
{{- define "library.files" -}}
{{- with .component.files }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $.name }}-files
  namespace: {{ $.root.Release.Namespace }}
  labels: {{- include "library.labels" $ | nindent 4 }}
data: {{- toYaml .content | nindent 2 }}
{{- end }}
{{- end }}

{{- define "library.serviceaccount" -}}
{{- if .values.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "library.serviceAccountName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
  {{- with .values.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{- define "library.pvc" -}}
{{- if and .claims (not .values.persistence.existingClaim) -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "library.claimName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
  {{- if .values.persistence.retain }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .values.persistence.storageClass }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ .values.persistence.size | quote }}
{{- end }}
{{- end }}
