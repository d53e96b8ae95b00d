{{- define "library.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
  {{- with .values.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .values.service.type }}
  selector: {{- include "library.selectorLabels" . | nindent 4 }}
  ports:
    - name: {{ .component.portName | default "http" }}
      port: {{ .values.service.port }}
      targetPort: {{ .component.portName | default "http" }}
      protocol: TCP
      {{- if and .values.service.nodePort (ne .values.service.type "ClusterIP") }}
      nodePort: {{ .values.service.nodePort }}
      {{- end }}
    {{- with .values.adminPort }}
    - name: admin
      port: {{ . }}
      targetPort: admin
      protocol: TCP
    {{- end }}
{{- end }}

{{- define "library.ingress" -}}
{{- if .values.ingress.enabled -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
  {{- with .values.ingress.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .values.ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .values.ingress.tls }}
  tls: {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range $host := .values.ingress.hosts }}
    {{- if kindIs "string" $host }}{{ $host = dict "host" $host }}{{ end }}
    - host: {{ $host.host | quote }}
      http:
        paths:
          {{- range $path := $host.paths | default (list "/") }}
          {{- if kindIs "string" $path }}{{ $path = dict "path" $path }}{{ end }}
          - path: {{ $path.path }}
            pathType: {{ $path.pathType | default "Prefix" }}
            backend:
              service:
                name: {{ $.name }}
                port:
                  name: http
          {{- end }}
    {{- end }}
{{- end }}
{{- end }}

{{- define "library.httproute" -}}
{{- if .values.httpRoute.enabled -}}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
  {{- with .values.httpRoute.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  parentRefs: {{- toYaml .values.httpRoute.parentRefs | nindent 4 }}
  {{- with .values.httpRoute.hostnames }}
  hostnames: {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - matches:
        - path:
            type: PathPrefix
            value: /
      backendRefs:
        - name: {{ .name }}
          port: {{ .values.service.port }}
{{- end }}
{{- end }}

{{/* Pods of the same release, by the component's name. */}}
{{- define "library.peer" -}}
podSelector:
  matchLabels:
    app.kubernetes.io/name: {{ .name }}
    app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/*
Two policies: of the service's pods, and of those that check it. Both name both directions, so that
what they do not list is denied.
*/}}
{{- define "library.networkpolicy" -}}
{{- $policy := .values.networkPolicy -}}
{{- $root := .root -}}
{{- $clients := $policy.clients -}}
{{- range .component.clients -}}
{{- $clients = append $clients (include "library.peer" (dict "root" $root "name" .) | fromYaml) -}}
{{- end -}}
{{- $checked := or .component.checks (.values.healthCheck).enabled -}}
{{- if $checked -}}
{{- $check := printf "%s-check" .component.name -}}
{{- $clients = append $clients (include "library.peer" (dict "root" $root "name" $check) | fromYaml) -}}
{{- end -}}
{{- if and (or (.values.ingress).enabled (.values.httpRoute).enabled) (not .component.internal) -}}
{{- $clients = concat $clients $policy.ingressController -}}
{{- end -}}
{{- $scraped := .values.adminPort | default .component.port -}}
{{- if $policy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "library.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- if or $clients (ne .values.service.type "ClusterIP") }}
    - ports:
        - port: {{ .component.port }}
          protocol: TCP
      {{- /* What comes by way of a node or a load balancer has no pod's address. */}}
      {{- if eq .values.service.type "ClusterIP" }}
      from: {{- toYaml $clients | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- if and $policy.monitoring (not .component.thirdParty) }}
    - ports:
        - port: {{ $scraped }}
          protocol: TCP
      from: {{- toYaml $policy.monitoring | nindent 8 }}
    {{- end }}
  egress:
    {{- if not .component.thirdParty }}
    {{- include "library.dnsEgress" $policy | nindent 4 }}
    {{- end }}
    {{- range .component.connects }}
    - ports:
        - port: {{ .port }}
          protocol: {{ .protocol | default "TCP" }}
      {{- with .peers }}
      to: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- with .values.otlpEndpoint }}
    - ports:
        - port: {{ include "library.urlPort" . }}
          protocol: TCP
    {{- end }}
    {{- with $policy.egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- if $checked }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}-check
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "library.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "library.checkLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress:
    {{- include "library.dnsEgress" $policy | nindent 4 }}
    - ports:
        - port: {{ .component.port }}
          protocol: TCP
      to:
        - {{ include "library.peer" (dict "root" $root "name" .component.name) | nindent 10 | trim }}
{{- end }}
{{- end }}
{{- end }}

{{- define "library.dnsEgress" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
  {{- with .dns }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The port of a URL. */}}
{{- define "library.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- end }}
