{{/* The name of the driver in the Kubernetes API. It is a constant in the binary, so it cannot be a value. */}}
{{- define "dra-netdev.driver" -}}
dra-netdev.github.io
{{- end }}

{{- define "dra-netdev.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of the release, followed by the name of the chart unless it contains that already. */}}
{{- define "dra-netdev.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "dra-netdev.name" .) .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "dra-netdev.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The selector of a DaemonSet is immutable, so these labels must not contain a version. */}}
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

{{/* The ConfigMap of the value attributes. */}}
{{- define "dra-netdev.attributes" -}}
{{ include "dra-netdev.fullname" . | trunc 52 | trimSuffix "-" }}-attributes
{{- end }}

{{/* The driver's directory below the kubelet's plugins directory. It has the same path on the host. */}}
{{- define "dra-netdev.pluginDir" -}}
{{ .Values.kubeletRootDir }}/plugins/{{ include "dra-netdev.driver" . }}
{{- end }}

{{/* The socket through which probes and commands in the pod reach the driver. */}}
{{- define "dra-netdev.healthSocket" -}}
/run/health/health.sock
{{- end }}

{{/* A probe is a command, because during an upgrade two pods in the host's network cannot use the same port. */}}
{{- define "dra-netdev.probe" -}}
exec:
  command: [/dra-netdev-probe, {{ include "dra-netdev.healthSocket" . }}, {{ .path }}]
timeoutSeconds: 5
{{- end }}
