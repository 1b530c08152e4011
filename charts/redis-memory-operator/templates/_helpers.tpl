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

{{- define "rmo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "rmo.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "rmo.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "rmo.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "rmo.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
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
