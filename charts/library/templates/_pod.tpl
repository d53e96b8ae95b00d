{{/* A probe; of the actions only one may be left. */}}
{{- define "library.probe" -}}
{{- $probe := . -}}
{{- range $action := list "exec" "tcpSocket" "grpc" -}}
{{- if hasKey $probe $action }}{{ $probe = omit $probe "httpGet" }}{{ end -}}
{{- end -}}
{{ toYaml $probe }}
{{- end }}

{{- define "library.imagePullSecrets" -}}
{{- with concat (.global.imagePullSecrets | default list) .values.imagePullSecrets | uniq -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The container of a pod that calls the service with the service's own image. */}}
{{- define "library.check" -}}
name: {{ .container }}
image: {{ include "library.image" .scope }}
imagePullPolicy: {{ include "library.imagePullPolicy" .scope }}
args:
  - healthcheck
  - http://{{ .scope.name }}:{{ .scope.values.service.port }}{{ .path }}
securityContext: {{- toYaml .scope.values.securityContext | nindent 2 }}
resources:
  requests:
    cpu: 10m
    memory: 16Mi
  limits:
    cpu: 100m
    memory: 64Mi
{{- end }}

{{- define "library.checkPod" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "library.serviceAccountName" .scope }}
{{- with include "library.imagePullSecrets" .scope }}
{{ . }}
{{- end }}
securityContext: {{- toYaml .scope.values.podSecurityContext | nindent 2 }}
containers:
  {{- range $index, $path := .paths }}
  - {{ include "library.check" (dict "scope" $.scope "path" $path "container" (printf "check-%d" $index)) | nindent 4 | trim }}
  {{- end }}
{{- end }}

{{/*
Containers that values add: (dict "scope" $ "containers" ..). Where they say nothing else, they are
as restricted as ours.
*/}}
{{- define "library.containers" -}}
{{- $scope := .scope -}}
{{- $containers := list -}}
{{- range include "library.tpl" (list $scope.root .containers) | fromYamlArray -}}
{{- $defaults := dict "securityContext" (deepCopy $scope.values.securityContext) -}}
{{- $containers = append $containers (mergeOverwrite $defaults .) -}}
{{- end -}}
{{- toYaml $containers -}}
{{- end }}

{{/* The template of a workload's pods. */}}
{{- define "library.pod" -}}
{{- $values := .values -}}
{{- $component := .component -}}
metadata:
  labels:
    {{- include "library.selectorLabels" . | nindent 4 }}
    {{- with .global.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ printf "%s%s%s" (include "library.env" .) (toYaml $values.env) (toYaml $component.files) | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "library.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with include "library.imagePullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext: {{- toYaml $values.podSecurityContext | nindent 4 }}
  terminationGracePeriodSeconds: {{ $component.gracePeriodSeconds | default (add $values.drainDelaySeconds $values.shutdownGracePeriodSeconds 15) }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with $values.dnsConfig }}
  dnsConfig: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.hostAliases }}
  hostAliases: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: {{ $values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels: {{- include "library.selectorLabels" $ | nindent 10 }}
    {{- end }}
  {{- with $values.initContainers }}
  initContainers: {{- include "library.containers" (dict "scope" $ "containers" .) | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ eq .role "server" | ternary $component.name .role }}
      image: {{ include "library.image" . }}
      imagePullPolicy: {{ include "library.imagePullPolicy" . }}
      {{- with $component.command }}
      command: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $component.args }}
      args: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- toYaml $values.securityContext | nindent 8 }}
      ports:
        - name: {{ $component.portName | default "http" }}
          containerPort: {{ $component.port }}
          protocol: TCP
        {{- with $values.adminPort }}
        - name: admin
          containerPort: {{ . }}
          protocol: TCP
        {{- end }}
      envFrom:
        {{- /* Of two that have a variable, the later wins. */}}
        {{- with $values.extraEnvFrom }}
        {{- include "library.tpl" (list $.root .) | nindent 8 }}
        {{- end }}
        - configMapRef:
            name: {{ .name }}
      {{- with include "library.envList" . | trim }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with $values.lifecycle }}
      lifecycle: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- range $kind := list "startupProbe" "livenessProbe" "readinessProbe" }}
      {{- with index $values $kind }}
      {{ $kind }}: {{- include "library.probe" . | nindent 8 }}
      {{- end }}
      {{- end }}
      resources: {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- range $index, $path := $component.mounts }}
        - name: scratch-{{ $index }}
          mountPath: {{ $path }}
        {{- end }}
        {{- with $component.secrets }}
        - name: secrets
          mountPath: /etc/secrets
          readOnly: true
        {{- end }}
        {{- with $component.files }}
        - name: files
          mountPath: {{ .mountPath }}
          readOnly: true
        {{- end }}
        {{- with $component.volume }}
        - name: data
          mountPath: {{ .mountPath }}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- include "library.tpl" (list $.root .) | nindent 8 }}
        {{- end }}
    {{- with $values.sidecars }}
    {{- include "library.containers" (dict "scope" $ "containers" .) | nindent 4 }}
    {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
    {{- range $index, $path := $component.mounts }}
    - name: scratch-{{ $index }}
      emptyDir:
        sizeLimit: 64Mi
    {{- end }}
    {{- with $component.secrets }}
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          {{- range $name, $from := . }}
          - secret:
              name: {{ $from.secret }}
              items:
                - key: {{ $from.key }}
                  path: {{ $name }}
          {{- end }}
    {{- end }}
    {{- with $component.files }}
    - name: files
      configMap:
        name: {{ $.name }}-files
    {{- end }}
    {{- if $component.volume }}
    - name: data
      {{- if .claims }}
      persistentVolumeClaim:
        claimName: {{ include "library.claimName" . }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- include "library.tpl" (list $.root .) | nindent 4 }}
    {{- end }}
{{- end }}

{{/* The variables that are no plain values. */}}
{{- define "library.envList" -}}
{{- range $name, $from := .component.secretEnv }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.secret }}
      key: {{ $from.key }}
{{- end }}
{{- range $name, $value := .values.env }}
{{- if kindIs "map" $value }}
- name: {{ $name }}
  valueFrom: {{- toYaml $value.valueFrom | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}
