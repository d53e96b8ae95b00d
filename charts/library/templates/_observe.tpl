{{- define "library.servicemonitor" -}}
{{- if .values.serviceMonitor.enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "library.labels" . | nindent 4 }}
    {{- with .values.serviceMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  jobLabel: app.kubernetes.io/name
  selector:
    matchLabels: {{- include "library.selectorLabels" . | nindent 6 }}
  endpoints:
    - port: {{ empty .values.adminPort | ternary "http" "admin" }}
      path: /metrics
      interval: {{ .values.serviceMonitor.interval }}
      {{- with .values.serviceMonitor.relabelings }}
      relabelings: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.serviceMonitor.metricRelabelings }}
      metricRelabelings: {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
{{- end }}

{{/* Rules from files: (dict "root" $ "component" (dict "name" ..) "name" .. "role" .. "labels" .. "files" ..) */}}
{{- define "library.prometheusrule" -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "library.labels" . | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  groups:
    {{- range $path, $_ := .files }}
    {{- $groups := $.root.Files.Get $path | fromYaml }}
    {{- toYaml $groups.groups | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Dashboards from files, for Grafana's sidecar: as above. */}}
{{- define "library.dashboards" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}-dashboards
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "library.labels" . | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
data:
  {{- range $path, $_ := .files }}
  {{ base $path }}: |
    {{- $.root.Files.Get $path | trim | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "library.cronjob" -}}
{{- if .values.healthCheck.enabled -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ .name }}-check
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  schedule: {{ .values.healthCheck.schedule | quote }}
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: 60
      template:
        metadata:
          labels: {{- include "library.checkLabels" . | nindent 12 }}
        spec: {{- include "library.checkPod" (dict "scope" . "paths" (list "/healthz")) | nindent 10 }}
{{- end }}
{{- end }}

{{- define "library.test" -}}
{{- with .component.checks -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ $.name }}-test
  namespace: {{ $.root.Release.Namespace }}
  labels:
    {{- include "library.checkLabels" $ | nindent 4 }}
    {{- include "library.commonLabels" $ | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec: {{- include "library.checkPod" (dict "scope" $ "paths" .) | nindent 2 }}
{{- end }}
{{- end }}
