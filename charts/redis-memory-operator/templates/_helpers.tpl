{{- define "rmo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough that "-role-label" and "-secrets" still fit into 63 characters. */}}
{{- define "rmo.fullname" -}}
{{- $name := include "rmo.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "rmo.selectorLabels" -}}
app.kubernetes.io/name: {{ include "rmo.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rmo.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "rmo.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Ours, and the labels that every object gets. By ours the objects are found: they win. */}}
{{- define "rmo.labels" -}}
{{- toYaml (merge (include "rmo.ownLabels" . | fromYaml) (.Values.commonLabels | default dict)) }}
{{- end }}

{{- define "rmo.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "rmo.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* A registry takes the place of the localhost/ of a local build. */}}
{{- define "rmo.repository" -}}
{{- $registry := dig "imageRegistry" "" (.Values.global | default dict) | default .Values.image.registry -}}
{{- if $registry -}}
{{ trimSuffix "/" $registry }}/{{ trimPrefix "localhost/" .Values.image.repository }}
{{- else -}}
{{ .Values.image.repository }}
{{- end }}
{{- end }}

{{- define "rmo.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if .Values.image.digest -}}
{{ include "rmo.repository" . }}@{{ .Values.image.digest }}
{{- else -}}
{{ include "rmo.repository" . }}:{{ $tag }}
{{- end }}
{{- end }}

{{/* The namespace in which an example, or a test, puts its policy: one that is watched. */}}
{{- define "rmo.policyNamespace" -}}
{{- first (concat (.Values.watchNamespaces | default list) (list .Release.Namespace)) }}
{{- end }}

{{/*
A right wherever policies are looked at: a ClusterRole, or a Role in each of watchNamespaces.
Takes context, name and rules (YAML).
*/}}
{{- define "rmo.grant" -}}
{{- range $namespace := .context.Values.watchNamespaces | default (list "") }}
{{- $kind := ternary "Role" "ClusterRole" (ne $namespace "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $.name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "rmo.labels" $.context | nindent 4 }}
rules:
  {{- $.rules | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $.name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "rmo.labels" $.context | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $.name }}
{{ include "rmo.subjects" $.context }}
{{- end }}
{{- end }}

{{/* The operator as a subject of role bindings. */}}
{{- define "rmo.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "rmo.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{/*
"true" unless the definition that is in the cluster belongs to another release, or to none: kept by one that was
uninstalled, or applied by hand.
*/}}
{{- define "rmo.ownsDefinition" -}}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "redismemorypolicies.redismemory.io" | default dict }}
{{- $of := dig "metadata" "annotations" dict $there | default dict }}
{{- $name := get $of "meta.helm.sh/release-name" }}
{{- $namespace := get $of "meta.helm.sh/release-namespace" }}
{{- if or (not $there) (and (eq $name .Release.Name) (eq $namespace .Release.Namespace)) }}true{{ end }}
{{- end }}

{{/* How a monitor scrapes: `kind` is Service or Pod, `more` what people add or change. */}}
{{- define "rmo.endpoint" -}}
{{- $tls := .root.Values.metrics.tls | default dict }}
{{- $endpoint := dict "port" "http" "path" "/metrics" "interval" .interval "honorLabels" true }}
{{- if $tls.secretName }}
{{- $_ := set $endpoint "scheme" "https" }}
{{- $name := printf "%s-metrics.%s.svc" (include "rmo.fullname" .root) .root.Release.Namespace }}
{{- $_ := set $endpoint "tlsConfig" (dict "serverName" $name "ca" (dict "secret" (dict "name" $tls.secretName "key" "ca.crt"))) }}
{{- if and (eq .kind "Service") (eq ($tls.clients | default "anyone") "token") }}
{{- $_ := set $endpoint "bearerTokenFile" "/var/run/secrets/kubernetes.io/serviceaccount/token" }}
{{- end }}
{{- end }}
{{- toYaml (mergeOverwrite $endpoint (deepCopy (.more | default dict))) }}
{{- end }}
