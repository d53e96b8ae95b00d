{{- define "library.deployment" -}}
{{- if not .claims -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ .values.replicaCount }}
  {{- end }}
  revisionHistoryLimit: 5
  {{- with .values.strategy }}
  strategy: {{- eq (toString .type) "Recreate" | ternary (omit . "rollingUpdate") . | toYaml | nindent 4 }}
  {{- end }}
  selector:
    matchLabels: {{- include "library.selectorLabels" . | nindent 6 }}
  template: {{- include "library.pod" . | nindent 4 }}
{{- end }}
{{- end }}

{{/*
For what owns a volume: there are never two of its pods, not even during an update. `Parallel`, which
with one pod starts nothing side by side, replaces a pod that never got ready; the default waits for
it for ever, so that no later version and no rollback would get through.
*/}}
{{- define "library.statefulset" -}}
{{- if .claims -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  replicas: 1
  revisionHistoryLimit: 5
  podManagementPolicy: Parallel
  serviceName: {{ .name }}
  selector:
    matchLabels: {{- include "library.selectorLabels" . | nindent 6 }}
  template: {{- include "library.pod" . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "library.hpa" -}}
{{- if .values.autoscaling.enabled -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ .name }}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .values.autoscaling.targetCPUUtilizationPercentage }}
  {{- with .values.autoscaling.behavior }}
  behavior: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "library.scaledobject" -}}
{{- if .values.keda.enabled -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ .name }}
  minReplicaCount: {{ .values.keda.minReplicas }}
  maxReplicaCount: {{ .values.keda.maxReplicas }}
  pollingInterval: {{ .values.keda.pollingInterval }}
  cooldownPeriod: {{ .values.keda.cooldownPeriod }}
  triggers: {{- tpl (toYaml .values.keda.triggers) .root | nindent 4 }}
{{- end }}
{{- end }}

{{- define "library.pdb" -}}
{{- if ge .replicas 2.0 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels: {{- include "library.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}
