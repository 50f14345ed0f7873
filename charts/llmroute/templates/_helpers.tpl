{{/* Labels of everything. Call with (dict "root" $ "component" "operator"). */}}
{{- define "llmroute.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: llmroute
{{ include "llmroute.selector" . }}
{{- end }}

{{- define "llmroute.selector" -}}
app.kubernetes.io/name: llmroute
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- if .component }}
app.kubernetes.io/component: {{ .component }}
{{- end }}
{{- end }}

{{/* The full name of an image. Call with (dict "root" $ "image" .Values.images.sidecar). */}}
{{- define "llmroute.image" -}}
{{- $name := .image.repository }}
{{- with .root.Values.images.registry }}{{ $name = printf "%s/%s" . $name }}{{ end }}
{{- if .image.digest }}{{ $name }}@{{ .image.digest }}
{{- else }}{{ $name }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/*
The name of what a cluster has once: with `namespaces` another release may serve others, so those carry the release's
namespace. The webhook's begins with llmroute because the API server calls webhooks in the order of their names, and
ours must come after those of service meshes.
*/}}
{{- define "llmroute.clusterName" -}}
{{ .name }}{{ if .root.Values.namespaces }}-{{ .root.Release.Namespace }}{{ end }}
{{- end }}

{{- define "llmroute.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:llmroute-operator
{{- end }}

{{/* The webhook's authority is the operator's to set. */}}
{{- define "llmroute.ownCertificates" -}}
{{- if eq .Values.certificates.method "operator" }}yes{{ end }}
{{- end }}

{{- define "llmroute.certificateSecret" -}}
{{- if eq .Values.certificates.method "provided" }}{{ .Values.certificates.provided.secretName }}{{ else }}llmroute-injector-tls{{ end }}
{{- end }}

{{- define "llmroute.podSecurity" -}}
runAsNonRoot: true
{{- if not .Values.clusterAssignsUsers }}
runAsUser: 10001
runAsGroup: 10001
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "llmroute.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods may and should run. Call with (dict "root" $ "component" "operator"). */}}
{{- define "llmroute.placement" -}}
{{- $values := index .root.Values .component }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
affinity:
  podAntiAffinity: # preferred: on a single node both replicas still run
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "llmroute.selector" . | nindent 12 }}
{{- end }}

{{/* What cannot work, said before anything is installed. */}}
{{- define "llmroute.check" -}}
{{- if and .Values.namespaces (include "llmroute.ownCertificates" .) }}
{{- fail "with `namespaces` the operator has no right in the cluster to set the webhook's authority: set certificates.method to cert-manager or provided" }}
{{- end }}
{{- if eq .Values.certificates.method "provided" }}
{{- if not (and .Values.certificates.provided.secretName .Values.certificates.provided.caBundle) }}
{{- fail "certificates.method is provided: set certificates.provided.secretName and certificates.provided.caBundle" }}
{{- end }}
{{- end }}
{{- if has .Release.Namespace .Values.namespaces }}
{{- fail "namespaces: pods of the release's own namespace are never given a sidecar; install into another" }}
{{- end }}
{{- end }}
