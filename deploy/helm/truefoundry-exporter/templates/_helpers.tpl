{{- define "truefoundry-exporter.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "truefoundry-exporter.fullname" -}}
{{- $name := include "truefoundry-exporter.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "truefoundry-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "truefoundry-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* The component keeps the pods of `helm test` out of the Service. */ -}}
{{- define "truefoundry-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "truefoundry-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: exporter
{{- end }}

{{- define "truefoundry-exporter.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "truefoundry-exporter.scheme" -}}
{{ .Values.webConfig.tls | ternary "https" "http" }}
{{- end }}

{{- /* The file of targets, in which keys are named relative to it. */ -}}
{{- define "truefoundry-exporter.config" -}}
{{- $targets := list }}
{{- range .Values.targets }}
  {{- $target := deepCopy (.http | default dict) }}
  {{- $key := printf "../keys/%s" .name }}
  {{- if hasKey $target "basic_auth" }}
    {{- $_ := set $target.basic_auth "password_file" $key }}
  {{- else if hasKey $target "oauth2" }}
    {{- $_ := set $target.oauth2 "client_secret_file" $key }}
  {{- else }}
    {{- $_ := set $target "authorization" (dict "credentials_file" $key) }}
  {{- end }}
  {{- $from := . }}
  {{- range $field, $value := dict "name" "name" "url" "url" "apiPrefix" "api_prefix" "kinds" "kinds" "apiKeyToken" "api_key_token" }}
    {{- if hasKey $from $field }}
      {{- $_ := set $target $value (get $from $field) }}
    {{- end }}
  {{- end }}
  {{- $targets = append $targets $target }}
{{- end }}
{{- toYaml (dict "targets" $targets) }}
{{- end }}

{{- define "truefoundry-exporter.configFile" -}}
/etc/truefoundry-exporter/config/targets.yml
{{- end }}

{{- /* Without subPath, which would keep the keys as they were when the pod started. */ -}}
{{- define "truefoundry-exporter.volumeMounts" -}}
- name: config
  mountPath: /etc/truefoundry-exporter/config
  readOnly: true
- name: keys
  mountPath: /etc/truefoundry-exporter/keys
  readOnly: true
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.volumes" -}}
- name: config
  configMap:
    name: {{ include "truefoundry-exporter.fullname" . }}
- name: keys
  projected:
    sources:
      {{- range .Values.targets }}
      - secret:
          name: {{ .keySecret.name | quote }}
          optional: true
          items:
            - key: {{ .keySecret.key | quote }}
              path: {{ .name | quote }}
      {{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* No user: that of the image is a number, and OpenShift wants to choose its own. */ -}}
{{- define "truefoundry-exporter.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "truefoundry-exporter.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* A query with a result while a Prometheus scrapes the exporter. */ -}}
{{- define "truefoundry-exporter.scrapedQuery" -}}
{{- if .Values.serviceMonitor.enabled -}}
truefoundry_up{namespace={{ .Release.Namespace | quote }},job={{ include "truefoundry-exporter.fullname" . | quote }}}
{{- else -}}
truefoundry_up{target={{ (first .Values.targets).name | quote }}}
{{- end }}
{{- end }}

{{- /* A duration of Prometheus as a number that can be compared. */ -}}
{{- define "truefoundry-exporter.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 "w" 604800000 "y" 31536000000 }}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9]+(ms|[smhdwy])" . -1 }}
  {{- $sum = add $sum (mul (regexFind "^[0-9]+" . | atoi) (get $units (regexFind "[a-z]+$" .))) }}
{{- end }}
{{- $sum }}
{{- end }}
