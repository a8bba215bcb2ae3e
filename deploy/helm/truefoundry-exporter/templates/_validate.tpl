{{- /*
What is wrong with the values, all of it at once. The schema checks types and choices;
its other messages would not say what to write. Each of the templates below prints one
problem a line, and no value that may be a secret.
*/ -}}
{{- define "truefoundry-exporter.validate" -}}
{{- $schema := .Files.Get "files/schema.json" | fromJson }}
{{- $unknown := include "truefoundry-exporter.unknownFields" (dict "schema" $schema "definitions" $schema.definitions "value" .Values "path" "" "hints" (.Files.Get "files/hints.yaml" | fromYaml) "hintPath" "") }}
{{- $problems := splitList "\n" $unknown }}
{{- range list "image" "names" "targets" "flags" "pod" "monitors" "rules" "labels" "rest" }}
  {{- $problems = concat $problems (include (printf "truefoundry-exporter.validate.%s" .) $ | splitList "\n") }}
{{- end }}
{{- $told := list }}
{{- range $problems }}
  {{- if trim . }}
    {{- $told = append $told (trim .) }}
  {{- end }}
{{- end }}
{{- if $told }}
  {{- fail (printf "\n\n  * %s\n" ($told | uniq | join "\n  * ")) }}
{{- end }}
{{- end }}

{{- /*
The fields that the schema does not have. The path is the one to show, hintPath the one
of files/hints.yaml, where elements of lists are left out.
*/ -}}
{{- define "truefoundry-exporter.unknownFields" -}}
{{- $schema := .schema }}
{{- with get $schema "$ref" }}
  {{- $schema = get $.definitions (trimPrefix "#/definitions/" .) }}
{{- end }}
{{- if and (kindIs "slice" .value) (hasKey $schema "items") }}
  {{- range $i, $value := .value }}
    {{- include "truefoundry-exporter.unknownFields" (merge (dict "schema" $schema.items "value" $value "path" (printf "%s[%d]" $.path $i)) (omit $ "schema" "value" "path")) }}
  {{- end }}
{{- else if and (kindIs "map" .value) (or (hasKey $schema "properties") (kindIs "map" $schema.additionalProperties)) }}
  {{- range $name, $value := .value }}
    {{- $path := printf "%s.%s" $.path $name | trimPrefix "." }}
    {{- $hintPath := printf "%s.%s" $.hintPath $name | trimPrefix "." }}
    {{- $property := get ($schema.properties | default dict) $name }}
    {{- if not $property }}
      {{- $property = $schema.additionalProperties }}
      {{- $hintPath = printf "%s.*" $.hintPath }}
    {{- end }}
    {{- if kindIs "invalid" $value }}
    {{- else if $property }}
      {{- include "truefoundry-exporter.unknownFields" (merge (dict "schema" $property "value" $value "path" $path "hintPath" $hintPath) (omit $ "schema" "value" "path" "hintPath")) }}
    {{- else }}
      {{- $hint := get $.hints (printf "%s.%s" $.hintPath $name | trimPrefix ".") | default (get $.hints $name) }}
{{ $path }}: {{ $hint | default (printf "there is no such value; there are %s" (keys $schema.properties | sortAlpha | join ", ")) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.image" -}}
{{- $image := .Values.image | default dict }}
{{- $repository := $image.repository | default "" }}
{{- if not $repository }}
image.repository is not set: write the image's name
{{- else if contains "@" $repository }}
image.repository has a digest: write it as image.digest: sha256:…
{{- else if regexMatch ":[^/]*$" $repository }}
image.repository has a tag, {{ regexFind "[^:]*$" $repository }}: write it as image.tag
{{- else if not (regexMatch "^[a-zA-Z0-9][-a-zA-Z0-9._:/]*[a-zA-Z0-9]$" $repository) }}
image.repository is no name of an image: write one such as registry.example/truefoundry_exporter
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?)?$" ($image.tag | default "")) }}
image.tag is no tag: write one such as 0.1.0
{{- end }}
{{- if not (regexMatch "^(sha256:[0-9a-f]{64})?$" ($image.digest | default "")) }}
image.digest must be sha256: and 64 digits: write it as sha256:…
{{- end }}
{{- if and $image.digest (contains "@" ($image.tag | default "")) }}
image.tag and image.digest both have a digest: leave it out of image.tag
{{- end }}
{{- range $value, $registry := dict "image.registry" $image.registry "global.imageRegistry" (.Values.global).imageRegistry }}
  {{- if not (regexMatch "^([-a-zA-Z0-9._]+(:[0-9]+)?(/[-a-zA-Z0-9._/]*)?)?$" ($registry | default "")) }}
{{ $value }} must be a host, without https://: write one such as registry.example:5000
  {{- end }}
{{- end }}
{{- range .Values.imagePullSecrets }}
  {{- if kindIs "map" . | ternary (ne (keys . | join ",") "name") (not (kindIs "string" .)) }}
imagePullSecrets: write [{name: …}]
  {{- end }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.names" -}}
{{- $fullname := include "truefoundry-exporter.fullname" . }}
{{- range $value, $name := dict "nameOverride" .Values.nameOverride "fullnameOverride" .Values.fullnameOverride }}
  {{- if not (regexMatch "^([a-z]([-a-z0-9]*[a-z0-9])?)?$" ($name | default "")) }}
{{ $value }} must be lower-case letters, digits and hyphens, and begin with a letter
  {{- end }}
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
{{ $fullname }} is no name for a Service, which begins with a letter and has no dots: set fullnameOverride
{{- end }}
{{- range $value, $name := dict "priorityClassName" .Values.priorityClassName "serviceAccount.name" (.Values.serviceAccount).name "webConfig.secretName" (.Values.webConfig).secretName "serviceMonitor.namespace" (.Values.serviceMonitor).namespace "podMonitor.namespace" (.Values.podMonitor).namespace "prometheusRule.namespace" (.Values.prometheusRule).namespace "dashboard.namespace" (.Values.dashboard).namespace }}
  {{- if not (regexMatch "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$" ($name | default "")) }}
{{ $value }} is no name of an object: write lower-case letters, digits, hyphens and dots
  {{- end }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.targets" -}}
{{- if not .Values.targets }}
targets is empty: list at least one control plane, with name, url and keySecret
{{- end }}
{{- $names := dict }}
{{- range $i, $target := include "truefoundry-exporter.targets" . | fromYamlArray }}
  {{- $path := printf "targets[%d]" $i }}
  {{- $name := .name | default "" }}
  {{- if not .url }}
  {{- else if or (gt (len $name) 100) (not (regexMatch "^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$" $name)) }}
{{ $path }}.name is also the name of a file: write at most 100 letters, digits, hyphens, dots and underscores
  {{- else if hasKey $names $name }}
{{ $path }}.name: two of the targets have the name {{ $name }}, which is the host of the URL where none is given: write another one
  {{- end }}
  {{- $_ := set $names $name true }}
  {{- include "truefoundry-exporter.validate.url" (dict "path" $path "url" .url "prefix" (hasKey . "apiPrefix" | ternary .apiPrefix "/api/svc")) }}
  {{- if kindIs "slice" .kinds }}
    {{- if empty .kinds }}
{{ $path }}.kinds is empty: write [personal-access-token], [virtual-account] or both, or leave it out
    {{- else if ne (len .kinds) (len (uniq .kinds)) }}
{{ $path }}.kinds has a kind twice: leave it out once
    {{- end }}
  {{- end }}
  {{- include "truefoundry-exporter.validate.key" (dict "path" $path "target" .) }}
  {{- include "truefoundry-exporter.validate.http" (dict "path" (printf "%s.http" $path) "http" (.http | default dict)) }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.url" -}}
{{- $url := .url | default "" }}
{{- $prefix := regexReplaceAll "/+$" .prefix "" }}
{{- $path := regexReplaceAll "^[a-z]+://[^/]*" $url "" | trimSuffix "/" }}
{{- if not $url }}
{{ .path }} has no url: write one such as https://example.truefoundry.cloud
{{- else if contains "@" $url }}
{{ .path }}.url has a user or a password: leave them out; the API key belongs into a Secret
{{- else if regexMatch "[?#]" $url }}
{{ .path }}.url has a query or a fragment: write the URL alone, such as https://example.truefoundry.cloud
{{- else if not (regexMatch "^https?://(\\[[0-9a-fA-F:]+\\]|[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?\\.?)(:[0-9]{1,5})?(/[^[:cntrl:]\\s%\\\\]*)?$" $url) }}
{{ .path }}.url must begin with https:// or http://, and be like https://example.truefoundry.cloud
{{- else if regexMatch ":(0+|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4})(/|$)" (regexFind "^[a-z]+://[^/]*" $url) }}
{{ .path }}.url has a port that there is not: write one from 1 to 65535
{{- else if and $prefix (or (hasSuffix $prefix $path) (contains (printf "%s/v1" $prefix) $path)) }}
{{ .path }}.url has {{ $prefix }} in it, which apiPrefix adds: leave it out
{{- end }}
{{- if not (regexMatch "^((/[-A-Za-z0-9._~!$&'()*+,;=:@]+)+/*|/)?$" .prefix) }}
{{ .path }}.apiPrefix must be "" or a path such as /api/svc
{{- else if regexMatch "/\\.\\.?(/|$)" .prefix }}
{{ .path }}.apiPrefix has . or .. in it: write the path that they lead to
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.key" -}}
{{- $secret := .target.keySecret }}
{{- $file := .target.keyFile }}
{{- if and $secret $file }}
{{ .path }} has both keySecret and keyFile: leave one of them out
{{- else if not (or $secret $file) }}
{{ .path }} has no key: write keySecret: {name: …, key: …}, or keyFile where something else puts the file into the pod
{{- end }}
{{- if $file }}
  {{- if or (not (regexMatch "^/[^/\\s]" $file)) (contains "/../" $file) (hasSuffix "/" $file) }}
{{ .path }}.keyFile must be the path of a file in the pod, which begins with /
  {{- else if hasPrefix "/etc/truefoundry-exporter/" $file }}
{{ .path }}.keyFile is in a folder of the chart's own: mount the file elsewhere
  {{- end }}
{{- end }}
{{- if $secret }}
  {{- if not $secret.name }}
{{ .path }}.keySecret has no name: write that of the Secret, as {name: …, key: …}
  {{- else }}
    {{- if not (regexMatch "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" $secret.name) }}
{{ .path }}.keySecret.name is no name of a Secret: write lower-case letters, digits, hyphens and dots
    {{- end }}
    {{- if not (regexMatch "^[-._a-zA-Z0-9]+$" $secret.key) }}
{{ .path }}.keySecret.key is no key of a Secret: write letters, digits, hyphens, dots and underscores
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.http" -}}
{{- if .http.follow_redirects }}
{{ .path }}.follow_redirects: redirects are never followed, so that the API key goes nowhere else: leave it out
{{- end }}
{{- include "truefoundry-exporter.validate.connection" (dict "path" .path "connection" .http) }}
{{- $path := printf "%s.http_headers" .path }}
{{- /* Those that the exporter or its HTTP library sets. */ -}}
{{- $reserved := list "authorization" "host" "content-encoding" "content-length" "content-type" "user-agent" "connection" "keep-alive" "proxy-authenticate" "proxy-authorization" "www-authenticate" "accept-encoding" "x-prometheus-remote-write-version" "x-prometheus-remote-read-version" "x-prometheus-scrape-timeout-seconds" "x-amz-date" "x-amz-security-token" "x-amz-content-sha256" }}
{{- range $name, $header := .http.http_headers }}
  {{- if has (lower $name) $reserved }}
{{ $path }}: the header {{ $name }} cannot be set: leave it out
  {{- else if not (regexMatch "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" $name) }}
{{ $path }}: a header has a name that cannot be sent: write letters, digits and hyphens
  {{- else if and ($header | default dict).values (regexMatch "(?i)^cookie$|token|secret|api[-_]?key|password" $name) }}
{{ $path }}: the header {{ $name }} looks like a secret: write files in place of values, and mount them with extraVolumes
  {{- end }}
  {{- range ($header | default dict).values }}
    {{- if regexMatch "[[:cntrl:]]" . }}
{{ $path }}: a value of the header {{ $name }} has a control character, and cannot be sent: leave it out
    {{- end }}
  {{- end }}
{{- end }}
{{- if kindIs "map" .http.oauth2 }}
  {{- $oauth2 := .http.oauth2 }}
  {{- $path := printf "%s.oauth2" .path }}
  {{- if not $oauth2.client_id }}
{{ $path }} has no client_id: write it
  {{- end }}
  {{- if contains "@" ($oauth2.token_url | default "") }}
{{ $path }}.token_url has a user or a password: leave them out
  {{- else if not (regexMatch "^https?://(\\[[0-9a-fA-F:]+\\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/([^[:cntrl:]\\s%]|%[0-9a-fA-F]{2})*)?$" ($oauth2.token_url | default "")) }}
{{ $path }}.token_url must begin with https:// or http://, and be like https://login.example/token
  {{- end }}
  {{- range $name, $_ := $oauth2.endpoint_params }}
    {{- if has $name (list "client_secret" "password" "client_assertion" "assertion") }}
{{ $path }}.endpoint_params.{{ $name }} would be a secret in the values: set keySecret or keyFile of the target, as the client's secret
    {{- end }}
  {{- end }}
  {{- include "truefoundry-exporter.validate.connection" (dict "path" $path "connection" $oauth2) }}
{{- end }}
{{- end }}

{{- /* What http and http.oauth2 have in common. */ -}}
{{- define "truefoundry-exporter.validate.connection" -}}
{{- $proxy := .connection.proxy_url }}
{{- if kindIs "invalid" $proxy }}
  {{- if .connection.no_proxy }}
{{ .path }}.no_proxy needs proxy_url: write that as well, or set HTTPS_PROXY and NO_PROXY in extraEnv
  {{- end }}
{{- else }}
  {{- if contains "@" $proxy }}
{{ .path }}.proxy_url has a user or a password: leave it out, and let extraEnvFrom set HTTPS_PROXY from a Secret
  {{- else if not (regexMatch "^(https?|socks5h?)://(\\[[0-9a-fA-F:]+\\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?$" $proxy) }}
{{ .path }}.proxy_url must begin with http://, https:// or socks5://, and be like http://proxy.example:3128
  {{- end }}
  {{- if .connection.proxy_from_environment }}
{{ .path }} has both proxy_url and proxy_from_environment: leave one of them out
  {{- end }}
{{- end }}
{{- if and .connection.proxy_from_environment .connection.no_proxy }}
{{ .path }} has both no_proxy and proxy_from_environment: set NO_PROXY in extraEnv, and leave no_proxy out
{{- end }}
{{- $tls := .connection.tls_config | default dict }}
{{- $path := printf "%s.tls_config" .path }}
{{- if and $tls.ca $tls.ca_file }}
{{ $path }} has both ca and ca_file: leave one of them out
{{- end }}
{{- if and $tls.ca (not (contains "-----BEGIN CERTIFICATE-----" $tls.ca)) }}
{{ $path }}.ca is no certificate in PEM: write its text, or ca_file with the path of a file
{{- end }}
{{- if and $tls.cert $tls.cert_file }}
{{ $path }} has both cert and cert_file: leave one of them out
{{- end }}
{{- if and (or $tls.cert $tls.cert_file) (not (or $tls.key_file $tls.key)) }}
{{ $path }} has a client certificate without its key: write key_file as well
{{- end }}
{{- if and $tls.key_file (not (or $tls.cert $tls.cert_file)) }}
{{ $path }} has key_file without a client certificate: write cert_file as well
{{- end }}
{{- if and $tls.min_version $tls.max_version (gt ($tls.min_version | default "") ($tls.max_version | default "")) }}
{{ $path }}.min_version is above max_version: write one that is not
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.flags" -}}
{{- $flags := .Files.Get "files/flags.yaml" | fromYaml }}
{{- $own := dict "config.file" "targets" "config.check" "nothing, and run helm test" "web.config.file" "webConfig" "web.listen-address" "service.port" "web.systemd-socket" "service.port" "web.telemetry-path" "nothing, since the chart relies on /metrics" "truefoundry.target" "targets" "truefoundry.url" "targets" "truefoundry.kind" "kinds of a target" "truefoundry.api-key-file" "keySecret or keyFile of a target" "truefoundry.api-key-token" "apiKeyToken of a target" "truefoundry.api-prefix" "apiPrefix of a target" }}
{{- $args := .Values.extraArgs }}
{{- if not (or (kindIs "slice" $args) (kindIs "invalid" $args)) }}
extraArgs must be a list of flags: write [--log.level=debug]
{{- else }}
  {{- $seen := list }}
  {{- range $i, $arg := $args }}
    {{- $flag := regexFind "^--[a-z][a-z0-9.-]*" (toString $arg) | trimPrefix "--" }}
    {{- $rest := toString $arg | trimPrefix (printf "--%s" $flag) }}
    {{- $off := and (hasPrefix "no-" $flag) (hasKey $flags (trimPrefix "no-" $flag)) (kindIs "invalid" (get $flags (trimPrefix "no-" $flag))) }}
    {{- if not (and $flag (regexMatch "^(=|$)" $rest)) }}
extraArgs[{{ $i }}] must be one flag, as --flag or --flag=value
    {{- else if has $flag $seen }}
extraArgs has --{{ $flag }} twice: leave it out once
    {{- else if hasKey $own $flag }}
extraArgs: the chart sets --{{ $flag }}: write {{ get $own $flag }} instead
    {{- else if $off }}
    {{- else if not (hasKey $flags $flag) }}
extraArgs: there is no --{{ $flag }} for the chart: there are --{{ keys $flags | sortAlpha | join ", --" }}
    {{- else if kindIs "invalid" (get $flags $flag) }}
      {{- if $rest }}
extraArgs: --{{ $flag }} has no value: leave it out
      {{- end }}
    {{- else if not (regexMatch (printf "^=(%s)$" (get $flags $flag | first)) $rest) }}
extraArgs: --{{ $flag }} must have {{ get $flags $flag | last }}, as --{{ $flag }}=…
    {{- end }}
    {{- $seen = append $seen $flag }}
  {{- end }}
{{- end }}
{{- range .Values.extraEnv }}
  {{- if has .name (list "TFY_API_KEY" "TFY_HOST") }}
extraEnv: the exporter does not read {{ .name }} in the chart: write {{ eq .name "TFY_HOST" | ternary "url" "keySecret" }} of a target instead
  {{- end }}
  {{- if and (regexMatch "(?i)^https?_proxy$" (toString .name)) (contains "@" (toString .value)) }}
extraEnv: {{ .name }} has a user or a password: set it with valueFrom, or with extraEnvFrom, from a Secret
  {{- end }}
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.pod" -}}
{{- if and (or (.Values.webConfig).tls (.Values.webConfig).auth) (not .Values.webConfig.secretName) }}
webConfig.tls and webConfig.auth say what is in the web configuration: set webConfig.secretName as well
{{- end }}
{{- if not (regexMatch "^[-._a-zA-Z0-9]*$" ((.Values.webConfig).key | default "")) }}
webConfig.key is no key of a Secret: write letters, digits, hyphens, dots and underscores
{{- end }}
{{- range .Values.extraVolumes }}
  {{- if has .name (list "config" "keys" "web") }}
extraVolumes: the chart has a volume {{ .name }} of its own: choose another name
  {{- end }}
{{- end }}
{{- range .Values.extraVolumeMounts }}
  {{- if not (and .name .mountPath) }}
extraVolumeMounts: one of them has no name or no mountPath: write both
  {{- else if regexMatch "^/(etc(/truefoundry-exporter(/.*)?)?)?$" (toString .mountPath | clean) }}
extraVolumeMounts: {{ .mountPath }} hides what the chart mounts below /etc/truefoundry-exporter: choose another folder
  {{- end }}
  {{- if or .subPath .subPathExpr }}
extraVolumeMounts: a file of a subPath is never renewed: leave it out, and mount the folder
  {{- end }}
{{- end }}
{{- range $list := list "extraEnv" "extraVolumes" "initContainers" "extraContainers" }}
  {{- range $i, $each := get $.Values $list | default list }}
    {{- if not .name }}
{{ $list }}[{{ $i }}] has no name: write one
    {{- else if and (eq $list "extraContainers") (eq (toString .name) "exporter") }}
extraContainers: the chart has a container exporter of its own: choose another name
    {{- end }}
  {{- end }}
{{- end }}
{{- if and (kindIs "float64" .Values.terminationGracePeriodSeconds) (lt (int64 .Values.terminationGracePeriodSeconds) 1) }}
terminationGracePeriodSeconds must be at least 1
{{- end }}
{{- $budget := .Values.podDisruptionBudget | default dict }}
{{- if hasKey $budget "enabled" }}
podDisruptionBudget has no field enabled: write {maxUnavailable: 1}, or {} for none
{{- else if and (not (kindIs "invalid" $budget.minAvailable)) (not (kindIs "invalid" $budget.maxUnavailable)) }}
podDisruptionBudget has both minAvailable and maxUnavailable: leave one of them out
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.monitors" -}}
{{- $duration := "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$" }}
{{- $web := .Values.webConfig | default dict }}
{{- range $kind := list "serviceMonitor" "podMonitor" }}
  {{- $monitor := get $.Values $kind | default dict }}
  {{- $endpoint := $monitor.endpoint | default dict }}
  {{- range $field := list "interval" "scrapeTimeout" }}
    {{- if not (regexMatch $duration (get $monitor $field | default "" | toString)) }}
{{ $kind }}.{{ $field }} must be a time such as 2m
    {{- end }}
  {{- end }}
  {{- $interval := $endpoint.interval | default $monitor.interval }}
  {{- $timeout := $endpoint.scrapeTimeout | default $monitor.scrapeTimeout }}
  {{- if and $interval $timeout (gt (include "truefoundry-exporter.milliseconds" $timeout | atoi) (include "truefoundry-exporter.milliseconds" $interval | atoi)) }}
{{ $kind }}.scrapeTimeout, {{ $timeout }}, is longer than {{ $kind }}.interval, {{ $interval }}, which Prometheus refuses: make it shorter
  {{- end }}
  {{- range $field := list "jobLabel" "targetLabels" "podTargetLabels" "namespaceSelector" "selector" }}
    {{- if hasKey $endpoint $field }}
{{ $kind }}.endpoint.{{ $field }} is no field of an endpoint: write {{ $kind }}.{{ $field }}
    {{- end }}
  {{- end }}
  {{- if $monitor.enabled }}
    {{- if and $web.tls (not $endpoint.tlsConfig) }}
webConfig.tls: Prometheus does not know the exporter's certificate: set {{ $kind }}.endpoint.tlsConfig
    {{- end }}
    {{- if and $web.auth (not (or $endpoint.basicAuth $endpoint.authorization $endpoint.oauth2 $endpoint.tlsConfig)) }}
webConfig.auth: Prometheus has no credentials: set basicAuth, authorization, oauth2 or tlsConfig in {{ $kind }}.endpoint
    {{- end }}
  {{- end }}
{{- end }}
{{- if and (.Values.serviceMonitor).enabled (.Values.podMonitor).enabled }}
serviceMonitor and podMonitor together are two scrapes of the same pods: enable one of them
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.rules" -}}
{{- $values := .Values.prometheusRule | default dict }}
{{- $groups := (.Files.Get "files/rules.yml" | fromYaml).groups }}
{{- if and $values.enabled (not $groups) }}
the chart's files/rules.yml has no rules: was it copied without following symbolic links? Use what helm package makes
{{- end }}
{{- $alerts := list }}
{{- $thresholds := list }}
{{- range $group := $groups }}
  {{- range .rules }}
    {{- if .alert }}
      {{- $alerts = append $alerts .alert }}
    {{- else if hasSuffix ".thresholds" $group.name }}
      {{- $thresholds = append $thresholds .record }}
    {{- end }}
  {{- end }}
{{- end }}
{{- range $name, $change := $values.alerts }}
  {{- $for := ($change | default dict).for }}
  {{- if and $groups (not (has $name $alerts)) }}
prometheusRule.alerts: there is no alert {{ $name }}: there are {{ join ", " $alerts }}
  {{- end }}
  {{- if kindIs "invalid" $for }}
  {{- else if not (regexMatch "^([0-9]+(ms|[smhdwy]))+$" $for) }}
prometheusRule.alerts.{{ $name }}.for must be a time such as 1h
  {{- else if and (gt (include "truefoundry-exporter.milliseconds" $for | atoi) 0) (lt (include "truefoundry-exporter.milliseconds" $for | atoi) 600000) }}
prometheusRule.alerts: {{ $name }} is for {{ $for }}, which starts anew where Prometheus restarts: write 0s, or at least 10m
  {{- end }}
{{- end }}
{{- $number := "([1-9][0-9]*(\\.[0-9]+)?|0\\.0*[1-9][0-9]*)" }}
{{- range $name, $value := $values.thresholds }}
  {{- if and $groups (not (has $name $thresholds)) }}
prometheusRule.thresholds: there is no threshold {{ $name }}: there are {{ join ", " $thresholds }}
  {{- else if not (or (kindIs "invalid" $value) (regexMatch (printf "^%s( ?[*/+] ?%s)*$" $number $number) (kindIs "string" $value | ternary $value (toJson $value)))) }}
prometheusRule.thresholds: {{ $name }} must be a number above 0, or such numbers with +, * and / between them, such as 30 * 86400
  {{- end }}
{{- end }}
{{- range $name, $_ := $values.alertLabels }}
  {{- if eq $name "severity" }}
prometheusRule.alertLabels: severity is a label of each alert: write it into prometheusRule.alerts
  {{- else if or (eq $name "alertname") (not (regexMatch "^[a-zA-Z_][a-zA-Z0-9_]*$" $name)) }}
prometheusRule.alertLabels: {{ $name }} is no label that an alert can be given: choose another name
  {{- end }}
{{- end }}
{{- range $values.aggregationLabels }}
  {{- if not (regexMatch "^[a-zA-Z_][a-zA-Z0-9_]*$" .) }}
prometheusRule.aggregationLabels: {{ . }} is no name of a label: write one such as cluster
  {{- end }}
{{- end }}
{{- if not (regexMatch "^(https?://[^\\s#]+)?$" ($values.runbookUrl | default "")) }}
prometheusRule.runbookUrl must be a URL without a fragment, to which # and the name of the alert are added
{{- end }}
{{- end }}

{{- /* Labels and annotations that the chart relies on. */ -}}
{{- define "truefoundry-exporter.validate.labels" -}}
{{- range $value := list "service" "serviceMonitor" "podMonitor" "prometheusRule" "dashboard" }}
  {{- range $name, $_ := (get $.Values $value | default dict).labels }}
    {{- if hasPrefix "app.kubernetes.io/" $name }}
{{ $value }}.labels: labels of app.kubernetes.io are the same for all objects: write {{ $name }} into commonLabels
    {{- end }}
  {{- end }}
{{- end }}
{{- range $value := list "commonLabels" "podLabels" }}
  {{- range $name, $_ := get $.Values $value | default dict }}
    {{- if regexMatch "^(helm\\.sh/chart|app\\.kubernetes\\.io/(name|instance|version|component|managed-by))$" $name }}
{{ $value }}: the chart sets {{ $name }}: leave it out; nameOverride changes the name
    {{- end }}
  {{- end }}
{{- end }}
{{- if hasKey (.Values.podAnnotations | default dict) "checksum/config" }}
podAnnotations: the chart sets checksum/config: leave it out
{{- end }}
{{- end }}

{{- define "truefoundry-exporter.validate.rest" -}}
{{- if and (.Values.dashboard).enabled (not (.Files.Get "files/dashboard.json" | hasPrefix "{")) }}
the chart's files/dashboard.json is no dashboard: was it copied without following symbolic links? Use what helm package makes
{{- end }}
{{- $test := .Values.test | default dict }}
{{- if and $test.prometheusUrl (not $test.image) }}
test.prometheusUrl is asked with test.image: set that as well
{{- end }}
{{- if not (regexMatch "^(https?://[^\\s@]+)?$" ($test.prometheusUrl | default "")) }}
test.prometheusUrl must be a URL without a user and a password, such as http://prometheus-operated.monitoring.svc:9090
{{- end }}
{{- if regexMatch "\\s" ($test.image | default "") }}
test.image is no name of an image: write one such as busybox:1.37
{{- end }}
{{- end }}
