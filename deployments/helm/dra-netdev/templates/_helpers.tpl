{{/* The name of the driver in Kubernetes' API. The binary has it as a constant: it is no value. */}}
{{- define "dra-netdev.driver" -}}
dra-netdev.github.io
{{- end }}

{{- define "dra-netdev.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of the release, with the name of the chart unless that is a part of it. */}}
{{- define "dra-netdev.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "dra-netdev.name" .) .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "dra-netdev.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What a DaemonSet selects by can never change: nothing about versions belongs in here. */}}
{{- define "dra-netdev.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dra-netdev.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dra-netdev.labels" -}}
{{ include "dra-netdev.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "dra-netdev.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "dra-netdev.fullname" .) }}
{{- end }}

{{- define "dra-netdev.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The driver's directory among those of the kubelet's plugins, at the same path on the host. */}}
{{- define "dra-netdev.pluginDir" -}}
{{ .Values.kubeletRootDir }}/plugins/{{ include "dra-netdev.driver" . }}
{{- end }}

{{/* Where the driver answers the probes and the commands of its own pod. */}}
{{- define "dra-netdev.healthSocket" -}}
/run/health/health.sock
{{- end }}

{{/* A probe by a command: during an upgrade two pods are in the host's network, and cannot have one port. */}}
{{- define "dra-netdev.probe" -}}
exec:
  command: [/dra-netdev-probe, {{ include "dra-netdev.healthSocket" . }}, {{ .path }}]
timeoutSeconds: 5
{{- end }}
