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

{{- $rules := .Files.Get "files/rules.yml" | fromYaml }}
{{- if not $rules.groups }}
  {{- $problems = append $problems "the chart's files/rules.yml has no rules: was it copied without following symbolic links?" }}
{{- end }}
{{- if not (.Files.Get "files/dashboard.json" | hasPrefix "{") }}
  {{- $problems = append $problems "the chart's files/dashboard.json is no dashboard: was it copied without following symbolic links?" }}
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
{{- range $name, $_ := .Values.prometheusRule.alerts }}
  {{- if not (has $name $alerts) }}
    {{- $problems = append $problems (printf "prometheusRule.alerts: there is no alert %s, but %s" $name (join ", " $alerts)) }}
  {{- end }}
{{- end }}
{{- range $name, $_ := .Values.prometheusRule.thresholds }}
  {{- if not (has $name $thresholds) }}
    {{- $problems = append $problems (printf "prometheusRule.thresholds: there is no threshold %s, but %s" $name (join ", " $thresholds)) }}
  {{- end }}
{{- end }}

{{- if $problems }}
  {{- fail (printf "\n\n  * %s\n" (join "\n  * " $problems)) }}
{{- end }}
{{- end }}
