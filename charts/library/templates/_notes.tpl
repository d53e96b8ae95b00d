{{/* NOTES.txt of a service: (list $ "randomize.component") */}}
{{- define "library.notes" -}}
{{- $root := index . 0 -}}
{{- $scope := include "library.scope" . | fromJson -}}
{{- $values := $scope.values -}}
{{- $namespace := $root.Release.Namespace -}}
{{- $path := first $scope.component.checks -}}
{{- $host := first $values.ingress.hosts -}}
{{- if kindIs "map" $host }}{{ $host = $host.host }}{{ end -}}
{{ $scope.component.name }} is installed as {{ $scope.name }} in the namespace {{ $namespace }}.

Wait until it is ready:

  kubectl --namespace {{ $namespace }} rollout status {{ $scope.claims | ternary "statefulset" "deployment" }}/{{ $scope.name }}

Ask it:
{{ if $values.ingress.enabled }}
  curl '{{ $values.ingress.tls | empty | ternary "http" "https" }}://{{ $host }}{{ $path }}'
{{- else if $values.httpRoute.enabled }}
  curl 'http://{{ first $values.httpRoute.hostnames | default "<gateway>" }}{{ $path }}'
{{- else if eq $values.service.type "NodePort" }}
  NODE=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[0].address}')
  PORT=$(kubectl --namespace {{ $namespace }} get service {{ $scope.name }} -o jsonpath='{.spec.ports[0].nodePort}')
  curl "http://$NODE:$PORT{{ $path }}"
{{- else if eq $values.service.type "LoadBalancer" }}
  ADDRESS=$(kubectl --namespace {{ $namespace }} get service {{ $scope.name }} -o jsonpath='{.status.loadBalancer.ingress[0].ip}')
  curl "http://$ADDRESS:{{ $values.service.port }}{{ $path }}"
{{- else }}
  kubectl --namespace {{ $namespace }} port-forward service/{{ $scope.name }} 8080:{{ $values.service.port }} &
  curl 'http://127.0.0.1:8080{{ $path }}'
{{- end }}

Its API as a page is at /docs. Test the release:

  helm test {{ $root.Release.Name }} --namespace {{ $namespace }}
{{- end }}
