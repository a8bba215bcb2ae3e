{{- define "truefoundry-exporter.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "truefoundry-exporter.fullname" -}}
{{- $name := include "truefoundry-exporter.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "truefoundry-exporter.serviceAccountName" -}}
{{- $account := .Values.serviceAccount | default dict }}
{{- if $account.name -}}
{{ $account.name }}
{{- else if $account.create -}}
{{ include "truefoundry-exporter.fullname" . }}
{{- else -}}
default
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "truefoundry-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The component keeps the pods of `helm test` out of the Service. */ -}}
{{- define "truefoundry-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "truefoundry-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: exporter
{{- end }}

{{- /*
The metadata of an object that others select by labels. Takes the root context as
root, and the values of the object.
*/ -}}
{{- define "truefoundry-exporter.monitoringMetadata" -}}
name: {{ include "truefoundry-exporter.fullname" .root }}
{{- with .values.namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- mergeOverwrite (include "truefoundry-exporter.labels" .root | fromYaml) (.values.labels | default dict) | toYaml | nindent 2 }}
{{- with .values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* An image's name with its host replaced. Takes name and registry, which may be empty. */ -}}
{{- define "truefoundry-exporter.inRegistry" -}}
{{- if .registry -}}
{{ trimSuffix "/" .registry }}/{{ regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" .name "" }}
{{- else -}}
{{ .name }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.image" -}}
{{- $image := .Values.image | default dict }}
{{- $registry := (.Values.global).imageRegistry | default $image.registry }}
{{- include "truefoundry-exporter.inRegistry" (dict "name" ($image.repository | default "") "registry" $registry) -}}
:{{ $image.tag | default .Chart.AppVersion }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* Pull Secrets are objects in a pod; `global` often has their names alone. */ -}}
{{- define "truefoundry-exporter.imagePullSecrets" -}}
{{- $secrets := list }}
{{- range concat ((.Values.global).imagePullSecrets | default list) (.Values.imagePullSecrets | default list) }}
  {{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with $secrets | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.scheme" -}}
{{ if (.Values.webConfig).tls }}https{{ else }}http{{ end }}
{{- end }}

{{- define "truefoundry-exporter.servicePort" -}}
{{ (.Values.service).port | default 10140 | int64 }}
{{- end }}

{{- /* What is not null in a map, at any depth, as YAML. */ -}}
{{- define "truefoundry-exporter.notNull" -}}
{{- $result := dict }}
{{- range $name, $value := . }}
  {{- if kindIs "map" $value }}
    {{- $_ := set $result $name (include "truefoundry-exporter.notNull" $value | fromYaml) }}
  {{- else if not (kindIs "invalid" $value) }}
    {{- $_ := set $result $name $value }}
  {{- end }}
{{- end }}
{{- toYaml $result }}
{{- end }}

{{- /* The targets with their defaults, and without nulls. */ -}}
{{- define "truefoundry-exporter.targets" -}}
{{- $targets := list }}
{{- range .Values.targets }}
  {{- $target := include "truefoundry-exporter.notNull" . | fromYaml }}
  {{- $host := regexReplaceAll "^[a-z]+://([^/:]*).*$" ($target.url | default "") "${1}" }}
  {{- $_ := set $target "name" ($target.name | default $host) }}
  {{- if $target.keySecret }}
    {{- $_ := set $target.keySecret "key" ($target.keySecret.key | default "api-key") }}
  {{- end }}
  {{- $targets = append $targets $target }}
{{- end }}
{{- toYaml $targets }}
{{- end }}

{{- /* The configuration file, in which keys are named relative to it. */ -}}
{{- define "truefoundry-exporter.config" -}}
{{- $targets := list }}
{{- range $values := include "truefoundry-exporter.targets" . | fromYamlArray }}
  {{- $target := $values.http | default dict }}
  {{- $key := $values.keyFile | default (printf "../keys/%s" $values.name) }}
  {{- if hasKey $target "oauth2" }}
    {{- $_ := set $target.oauth2 "client_secret_file" $key }}
  {{- else }}
    {{- $_ := set $target "authorization" (dict "credentials_file" $key) }}
  {{- end }}
  {{- range $value, $field := dict "name" "name" "url" "url" "apiPrefix" "api_prefix" "kinds" "kinds" "apiKeyToken" "api_key_token" }}
    {{- if hasKey $values $value }}
      {{- $_ := set $target $field (get $values $value) }}
    {{- end }}
  {{- end }}
  {{- $targets = append $targets $target }}
{{- end }}
{{- toYaml (dict "targets" $targets) }}
{{- end }}

{{- define "truefoundry-exporter.configFile" -}}
/etc/truefoundry-exporter/config/targets.yml
{{- end }}

{{- /* The targets whose key is in a Secret. */ -}}
{{- define "truefoundry-exporter.keys" -}}
{{- range include "truefoundry-exporter.targets" . | fromYamlArray }}
{{- if .keySecret }}
- secret:
    name: {{ .keySecret.name | quote }}
    optional: true
    items:
      - key: {{ .keySecret.key | quote }}
        path: {{ .name | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Without subPath, which would keep the keys as they were when the pod started. */ -}}
{{- define "truefoundry-exporter.volumeMounts" -}}
- name: config
  mountPath: /etc/truefoundry-exporter/config
  readOnly: true
{{- if include "truefoundry-exporter.keys" . }}
- name: keys
  mountPath: /etc/truefoundry-exporter/keys
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.volumes" -}}
- name: config
  configMap:
    name: {{ include "truefoundry-exporter.fullname" . }}
{{- with include "truefoundry-exporter.keys" . }}
- name: keys
  projected:
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.environment" -}}
{{- $names := list }}
{{- range .Values.extraEnv }}
  {{- $names = append $names .name }}
{{- end }}
env:
  {{- if not (has "GOMEMLIMIT" $names) }}
  - name: GOMEMLIMIT
    valueFrom:
      resourceFieldRef:
        containerName: exporter
        resource: limits.memory
        divisor: "1"
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /*
A probe, as JSON. Takes the root context as root, the values of the probe, and the
path to ask for.
*/ -}}
{{- define "truefoundry-exporter.probe" -}}
{{- $handler := dict }}
{{- if or .values.httpGet .values.tcpSocket .values.exec .values.grpc }}
{{- else if (.root.Values.webConfig).auth }}
  {{- $handler = dict "tcpSocket" (dict "port" "http") }}
{{- else }}
  {{- $handler = dict "httpGet" (dict "path" .path "port" "http" "scheme" (include "truefoundry-exporter.scheme" .root | upper)) }}
{{- end }}
{{- mergeOverwrite $handler .values | toJson }}
{{- end }}

{{- /* The endpoint of a monitor. Takes the root context as root, and the values of the monitor. */ -}}
{{- define "truefoundry-exporter.endpoint" -}}
{{- $endpoint := dict "port" "http" "scheme" (.values.scheme | default (include "truefoundry-exporter.scheme" .root)) }}
{{- $endpoint = mergeOverwrite $endpoint (pick .values "interval" "scrapeTimeout" "honorLabels") (omit (.values.endpoint | default dict) "sampleLimit") }}
{{- include "truefoundry-exporter.notNull" $endpoint }}
{{- end }}

{{- /* The limit is a field beside the endpoints, and is often written into one. */ -}}
{{- define "truefoundry-exporter.sampleLimit" -}}
{{- with .sampleLimit | default (.endpoint).sampleLimit }}{{ int64 . }}{{ end }}
{{- end }}

{{- /* A query that has a result while a Prometheus scrapes the exporter. */ -}}
{{- define "truefoundry-exporter.scrapedQuery" -}}
{{- $fullname := include "truefoundry-exporter.fullname" . }}
{{- $namespace := .Release.Namespace }}
{{- if and (.Values.serviceMonitor).enabled (not .Values.serviceMonitor.jobLabel) -}}
truefoundry_up{namespace={{ quote $namespace }},job={{ quote $fullname }}}
{{- else if and (.Values.podMonitor).enabled (not .Values.podMonitor.jobLabel) -}}
truefoundry_up{namespace={{ quote $namespace }},job={{ printf "%s/%s" (.Values.podMonitor.namespace | default $namespace) $fullname | quote }}}
{{- else -}}
truefoundry_up{target={{ (include "truefoundry-exporter.targets" . | fromYamlArray | first).name | quote }}}
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

{{- /*
Whether the pods of `helm test` see all key files: what an injector puts into the
exporter's pods is not there.
*/ -}}
{{- define "truefoundry-exporter.keysAreMounted" -}}
{{- $all := true }}
{{- range $target := .Values.targets }}
  {{- $mounted := empty $target.keyFile }}
  {{- range $.Values.extraVolumeMounts }}
    {{- $mounted = or $mounted (hasPrefix (trimSuffix "/" .mountPath | printf "%s/") $target.keyFile) }}
  {{- end }}
  {{- $all = and $all $mounted }}
{{- end }}
{{- if $all }}true{{ end }}
{{- end }}

{{- /* What the pods of `helm test` share. They need no service account. */ -}}
{{- define "truefoundry-exporter.testPod" -}}
restartPolicy: Never
automountServiceAccountToken: false
{{- include "truefoundry-exporter.imagePullSecrets" . }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.testContainer" -}}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
