{{- define "library.secretstore" -}}
{{- $secrets := .values.externalSecrets -}}
{{- if and $secrets.enabled $secrets.store.create -}}
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata:
  name: {{ $secrets.store.name | default .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  provider: {{- toYaml $secrets.store.provider | nindent 4 }}
{{- end }}
{{- end }}

{{- define "library.externalsecret" -}}
{{- $secrets := .values.externalSecrets -}}
{{- if $secrets.enabled -}}
{{- range $index, $secret := $secrets.secrets -}}
{{- if $index }}
---
{{ end -}}
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: {{ $.name }}-{{ $secret.name }}
  namespace: {{ $.root.Release.Namespace }}
  labels: {{- include "library.labels" $ | nindent 4 }}
spec:
  refreshInterval: {{ $secrets.refreshInterval }}
  secretStoreRef:
    kind: {{ $secrets.store.create | ternary "SecretStore" $secrets.store.kind }}
    name: {{ $secrets.store.name | default $.name }}
  target:
    name: {{ $secret.name }}
    creationPolicy: Owner
    deletionPolicy: Retain
    {{- with $secret.type }}
    template:
      type: {{ . }}
    {{- end }}
  dataFrom:
    - extract:
        key: {{ $secret.remoteKey }}
{{- end }}
{{- end }}
{{- end }}
