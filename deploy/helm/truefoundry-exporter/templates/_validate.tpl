{{- /* A constant, as the thresholds are, and nothing else. */ -}}
{{- define "truefoundry-exporter.isThreshold" -}}
{{- if and .record (regexMatch "^\\s*(vector\\s*\\()?[-0-9.eE()*/+ ]+\\s*$" (toString .expr)) }}true{{ end }}
{{- end }}

{{- /* What the schema cannot tell, or not in words that help. All of it at once. */ -}}
{{- define "truefoundry-exporter.validate" -}}
{{- $problems := list }}
{{- if not .Values.image.repository }}
  {{- $problems = append $problems "image.repository is not set: no image of the exporter is published yet; build it from the Dockerfile, push it to your registry, and name it" }}
{{- end }}
{{- if regexMatch ":[^/]*$" (.Values.image.repository | default "") }}
  {{- $problems = append $problems (printf "image.repository has a tag, %s: that belongs into image.tag" (regexFind "[^:]*$" .Values.image.repository)) }}
{{- end }}
{{- $fullname := include "truefoundry-exporter.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
  {{- $problems = append $problems (printf "%s is no name for a Service, which begins with a letter and has no dots: set fullnameOverride" $fullname) }}
{{- end }}
{{- if not .Values.targets }}
  {{- $problems = append $problems "targets is empty: list at least one control plane, with name, url and keySecret" }}
{{- end }}
{{- $names := dict }}
{{- range .Values.targets }}
  {{- if hasKey $names .name }}
    {{- $problems = append $problems (printf "targets: two of them have the name %s" .name) }}
  {{- end }}
  {{- $_ := set $names .name true }}
  {{- $http := .http | default dict }}
  {{- if and (hasKey $http "basic_auth") (hasKey $http "oauth2") }}
    {{- $problems = append $problems (printf "targets: %s has both http.basic_auth and http.oauth2" .name) }}
  {{- end }}
{{- end }}
{{- if and (or .Values.webConfig.tls .Values.webConfig.auth) (not .Values.webConfig.secretName) }}
  {{- $problems = append $problems "webConfig.tls and webConfig.auth tell what is in the web configuration: set webConfig.secretName as well" }}
{{- end }}
{{- if and .Values.test.prometheusUrl (not .Values.test.image) }}
  {{- $problems = append $problems "test.prometheusUrl is asked with test.image: set that as well" }}
{{- end }}
{{- range .Values.extraVolumes }}
  {{- if has .name (list "config" "keys" "web") }}
    {{- $problems = append $problems (printf "extraVolumes: the chart has a volume %s of its own: choose another name" .name) }}
  {{- end }}
{{- end }}
{{- range .Values.extraVolumeMounts }}
  {{- if regexMatch "^/(etc(/truefoundry-exporter(/.*)?)?)?$" (toString .mountPath | clean) }}
    {{- $problems = append $problems (printf "extraVolumeMounts: %s hides what the chart mounts below /etc/truefoundry-exporter: choose another folder" .mountPath) }}
  {{- end }}
{{- end }}

{{- $monitor := .Values.serviceMonitor }}
{{- if gt (include "truefoundry-exporter.milliseconds" $monitor.scrapeTimeout | atoi) (include "truefoundry-exporter.milliseconds" $monitor.interval | atoi) }}
  {{- $problems = append $problems (printf "serviceMonitor.scrapeTimeout, %s, is longer than serviceMonitor.interval, %s: Prometheus takes no such scrape" $monitor.scrapeTimeout $monitor.interval) }}
{{- end }}
{{- if $monitor.enabled }}
  {{- $endpoint := $monitor.endpoint | default dict }}
  {{- if and .Values.webConfig.tls (not $endpoint.tlsConfig) }}
    {{- $problems = append $problems "webConfig.tls: Prometheus does not know the exporter's certificate: set serviceMonitor.endpoint.tlsConfig" }}
  {{- end }}
  {{- if and .Values.webConfig.auth (not (or $endpoint.basicAuth $endpoint.authorization $endpoint.oauth2 $endpoint.tlsConfig)) }}
    {{- $problems = append $problems "webConfig.auth: Prometheus has nothing to show: set basicAuth, authorization, oauth2 or tlsConfig in serviceMonitor.endpoint" }}
  {{- end }}
{{- end }}

{{- $rules := .Files.Get "files/rules.yml" | fromYaml }}
{{- if and .Values.prometheusRule.enabled (not $rules.groups) }}
  {{- $problems = append $problems "the chart's files/rules.yml has no rules: was it copied without following symbolic links? Use what `helm package` makes" }}
{{- end }}
{{- if and .Values.dashboard.enabled (not (.Files.Get "files/dashboard.json" | hasPrefix "{")) }}
  {{- $problems = append $problems "the chart's files/dashboard.json is no dashboard: was it copied without following symbolic links? Use what `helm package` makes" }}
{{- end }}
{{- $alerts := list }}
{{- $thresholds := list }}
{{- range $rules.groups }}
  {{- range .rules }}
    {{- if .alert }}
      {{- $alerts = append $alerts .alert }}
    {{- else if include "truefoundry-exporter.isThreshold" . }}
      {{- $thresholds = append $thresholds .record }}
    {{- end }}
  {{- end }}
{{- end }}
{{- range $name, $change := .Values.prometheusRule.alerts }}
  {{- $for := include "truefoundry-exporter.milliseconds" ($change.for | default "0s") | atoi }}
  {{- if and (gt $for 0) (lt $for 600000) }}
    {{- $problems = append $problems (printf "prometheusRule.alerts: %s is for %s, which starts anew where Prometheus restarts: set 0s, or at least 10m" $name $change.for) }}
  {{- end }}
  {{- if and $rules.groups (not (has $name $alerts)) }}
    {{- $problems = append $problems (printf "prometheusRule.alerts: there is no alert %s, but %s" $name (join ", " $alerts)) }}
  {{- end }}
{{- end }}
{{- range $name, $_ := .Values.prometheusRule.thresholds }}
  {{- if and $rules.groups (not (has $name $thresholds)) }}
    {{- $problems = append $problems (printf "prometheusRule.thresholds: there is no threshold %s, but %s" $name (join ", " $thresholds)) }}
  {{- end }}
{{- end }}

{{- if $problems }}
  {{- fail (printf "\n\n  * %s\n" (join "\n  * " $problems)) }}
{{- end }}
{{- end }}
