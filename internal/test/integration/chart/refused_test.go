package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	common "github.com/prometheus/common/config"
	"sigs.k8s.io/yaml"
)

// target is the beginning of a target, to which tests add fields.
const target = `targets: [{name: a, url: "https://a", keySecret: {name: s, key: k}, `

// targetAt returns a target with another URL.
func targetAt(url string) string {
	return `targets: [{name: a, url: "` + url + `", keySecret: {name: s, key: k}}]`
}

// These are errors of the chart only. TestValuesThatTheExporterRejects has the others.
func TestInvalidValues(t *testing.T) {
	t.Parallel()
	const secret = "tfy-hush-hush"
	header := func(name string) string {
		return target + `http: {http_headers: {` + name + `: {values: [` + secret + `]}}}}]`
	}
	oauth2 := func(more string) string {
		return target + `http: {oauth2: {client_id: i, token_url: "https://o", ` + more + `}}}]`
	}
	for _, test := range []struct{ name, values, want string }{
		{"no image", `image: {repository: ""}`, "image.repository is not set: write the image's name"},
		{"a tag in the repository", `image: {repository: "images.example:5000/a:1.2"}`, "image.repository has a tag, 1.2: write it as image.tag"},
		{"a digest in the repository", `image: {repository: "a@sha256:b"}`, "image.repository has a digest: write it as image.digest"},
		{"half a digest", `image: {digest: "sha256:abc"}`, "image.digest must be sha256: and 64 digits"},
		{"two digests", `image: {tag: "1@sha256:` + strings.Repeat("a", 64) + `", digest: "sha256:` + strings.Repeat("a", 64) + `"}`, "leave it out of image.tag"},
		{"an invalid tag", `image: {tag: "a b"}`, "image.tag is no tag"},
		{"a registry that is a URL", `image: {registry: "https://a"}`, "image.registry must be a host, without https://"},
		{"a global registry that is a URL", `global: {imageRegistry: "https://a"}`, "global.imageRegistry must be a host"},
		{"a pull secret without a name", `imagePullSecrets: [{secret: a}]`, "imagePullSecrets: write [{name: …}]"},

		{"no targets", `targets: []`, "targets is empty: list at least one control plane"},
		{"a name with a path", `targets: [{name: ../a, url: "https://a", keySecret: {name: s, key: k}}]`, "targets[0].name is also the name of a file"},
		{"a name that starts with dots", `targets: [{name: ..a, url: "https://a", keySecret: {name: s, key: k}}]`, "targets[0].name is also the name of a file"},
		{"a name that is a number", `targets: [{name: 1, url: "https://a", keySecret: {name: s, key: k}}]`, "at '/targets/0/name': got number, want null or string"},
		{"no key", `targets: [{name: a, url: "https://a"}]`, "targets[0] has no key: write keySecret: {name: …, key: …}, or keyFile"},
		{"a key without a Secret", `targets: [{name: a, url: "https://a", keySecret: {key: k}}]`, "targets[0].keySecret has no name: write that of the Secret"},
		{"a default name that is an IPv6 address", `targets: [{url: "https://[fd00::1]", keySecret: {name: s}}]`, "targets[0].name is also the name of a file"},
		{"an invalid name of a Secret", `targets: [{name: a, url: "https://a", keySecret: {name: S_, key: k}}]`, "keySecret.name is no name of a Secret"},
		{"an invalid key of a Secret", `targets: [{name: a, url: "https://a", keySecret: {name: s, key: "a/b"}}]`, "keySecret.key is no key of a Secret"},
		{"two keys", target + `keyFile: /a}]`, "targets[0] has both keySecret and keyFile"},
		{"a relative key file", target + `keySecret: null, keyFile: vault/a}]`, "keyFile must be the path of a file in the pod"},
		{"a key file in a directory of the chart", target + `keySecret: null, keyFile: /etc/truefoundry-exporter/keys/a}]`, "mount the file elsewhere"},
		{"a key instead of a file", target + `keySecret: null, keyFile: ` + secret + `}]`, "keyFile must be the path of a file in the pod"},

		{"an unknown field of a target", target + `apiKeytoken: x}]`, "targets[0].apiKeytoken: there is no such value; there are apiKeyToken, apiPrefix, http, keyFile, keySecret, kinds, name, url"},
		{"a field of the configuration file", target + `api_prefix: x}]`, "targets[0].api_prefix: write apiPrefix"},
		{"an unknown value", `serviceMonitors: {enabled: true}`, "serviceMonitors: write serviceMonitor"},
		{"an unknown field", `serviceMonitor: {foo: true}`, "serviceMonitor.foo: there is no such value; there are annotations, apiVersion, enabled"},
		{"replicas of other charts", `replicaCount: 2`, "replicaCount: write replicas"},
		{"labels of other charts", `podMonitor: {additionalLabels: {a: b}}`, "podMonitor.additionalLabels: write labels"},
		{"environment of other charts", `env: [{name: TFY_API_KEY, value: ` + secret + `}]`, "env: write extraEnv"},
		{"an unknown field of http", target + `http: {proxy: "http://p"}}]`, "targets[0].http.proxy: there is no such value; there are enable_http2"},

		{"a key as a value", target + `apiKey: ` + secret + `}]`, "targets[0].apiKey: a key is never a value"},
		{"a key in the reference", `targets: [{name: a, url: "https://a", keySecret: {name: s, key: k, value: ` + secret + `}}]`, "targets[0].keySecret.value: a key is never a value"},
		{"a key in authorization", target + `http: {authorization: {credentials: ` + secret + `}}}]`, "http.authorization: write keySecret or keyFile"},
		{"a bearer token", target + `http: {bearer_token: ` + secret + `}}]`, "http.bearer_token: write keySecret or keyFile"},
		{"a password", target + `http: {basic_auth: {username: u, password: ` + secret + `}}}]`, "http.basic_auth: the API takes none"},
		{"a client secret", oauth2(`client_secret: ` + secret), "oauth2.client_secret: write keySecret or keyFile"},
		{"a TLS key", target + `http: {tls_config: {key: ` + secret + `}}}]`, "tls_config.key: it would be a secret in the values: write key_file"},
		{"a TLS key of OAuth2", oauth2(`tls_config: {key: ` + secret + `}`), "oauth2.tls_config.key: it would be a secret in the values: write key_file"},
		{"a secret header", target + `http: {http_headers: {X: {secrets: [` + secret + `]}}}}]`, "http_headers.X.secrets: it would be a secret in the values: write files"},
		{"a proxy's header", target + `http: {proxy_connect_header: {X: [` + secret + `]}}}]`, "let extraEnvFrom set HTTPS_PROXY"},
		{"a header for a key", header("x-api-KEY"), "the header x-api-KEY looks like a secret: write files in place of values"},
		{"a header for a key in one word", header("ApiKey"), "the header ApiKey looks like a secret"},
		{"a header for a token", header("X-Auth-Token"), "the header X-Auth-Token looks like a secret"},
		{"a header for a secret", header("Client-SECRET"), "the header Client-SECRET looks like a secret"},
		{"a header for a password", header("X-Password"), "the header X-Password looks like a secret"},
		{"a cookie", header("cookie"), "the header cookie looks like a secret"},
		{"a client secret as a parameter", oauth2(`endpoint_params: {client_secret: ` + secret + `}`), "endpoint_params.client_secret would be a secret in the values"},
		{"a password as a parameter", oauth2(`endpoint_params: {password: ` + secret + `}`), "endpoint_params.password would be"},
		{"an assertion as a parameter", oauth2(`endpoint_params: {client_assertion: ` + secret + `}`), "endpoint_params.client_assertion would be"},
		{"another assertion as a parameter", oauth2(`endpoint_params: {assertion: ` + secret + `}`), "endpoint_params.assertion would be"},
		{"a URL's query", targetAt("https://a/?b=" + secret), "targets[0].url has a query or a fragment"},
		{"a password in the URL", targetAt("https://u:" + secret + "@a"), "targets[0].url has a user or a password"},
		{"a proxy's password", target + `http: {proxy_url: "http://u:` + secret + `@p"}}]`, "http.proxy_url has a user or a password: leave it out, and let extraEnvFrom set HTTPS_PROXY from a Secret"},
		{"a proxy's password in the environment", `extraEnv: [{name: https_proxy, value: "http://u:` + secret + `@p"}]`, "set it with valueFrom, or with extraEnvFrom"},
		{"a key in the environment", `extraEnv: [{name: TFY_API_KEY, value: ` + secret + `}]`, "the exporter does not read TFY_API_KEY in the chart: write keySecret of a target"},
		{"a key as a flag", `extraArgs: ["` + secret + `"]`, "extraArgs[0] must be one flag"},

		{"a flag that the chart sets", `extraArgs: [--config.file=x]`, "the chart sets --config.file: write targets instead"},
		{"a name for a single target", `extraArgs: ["--truefoundry.target=a"]`, "the chart sets --truefoundry.target: write targets instead"},
		{"the demonstration", `extraArgs: [--demo]`, "there is no --demo for the chart"},
		{"TLS without a web configuration", `webConfig: {tls: true}`, "set webConfig.secretName as well"},
		{"a subPath", `extraVolumeMounts: [{name: a, mountPath: /a, subPath: b}]`, "a file of a subPath is never renewed"},
		{"a volume of the chart", `extraVolumes: [{name: keys}]`, "a volume keys of its own"},
		{"a container of the chart", `extraContainers: [{name: exporter}]`, "a container exporter of its own"},
		{"a variable without a name", `extraEnv: [{value: a}]`, "extraEnv[0] has no name"},
		{"a mount over a mount of the chart", `extraVolumeMounts: [{name: a, mountPath: /etc/truefoundry-exporter/keys/}]`, "hides what the chart mounts"},
		{"a mount over all mounts of the chart", `extraVolumeMounts: [{name: a, mountPath: /etc/}]`, "hides what the chart mounts"},
		{"an invalid grace period", `terminationGracePeriodSeconds: 0`, "terminationGracePeriodSeconds must be at least 1"},
		{"enabled for disruptions", `podDisruptionBudget: {enabled: true}`, "write {maxUnavailable: 1}, or {} for none"},
		{"a budget with both bounds", `podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}`, "both minAvailable and maxUnavailable"},
		{"an invalid full name", `fullnameOverride: A_b`, "fullnameOverride must be lower-case letters"},
		{"an invalid namespace", `dashboard: {namespace: A_b}`, "dashboard.namespace is no name of an object"},
		{"an invalid port", `service: {port: 0}`, "at '/service/port': minimum: got 0, want 1"},
		{"a boolean as a string", `serviceMonitor: {enabled: "true"}`, "at '/serviceMonitor/enabled': got string, want null or boolean"},
		{"a label that is not a string", `serviceMonitor: {labels: {a: 1}}`, "at '/serviceMonitor/labels/a': got number, want null or string"},
		{"an unknown choice", `image: {pullPolicy: Sometimes}`, "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"},

		{"two monitors", `{serviceMonitor: {enabled: true}, podMonitor: {enabled: true}}`, "enable one of them"},
		{"an invalid interval", `serviceMonitor: {interval: 2 minutes}`, "serviceMonitor.interval must be a time such as 2m"},
		{"a timeout above the interval", `podMonitor: {interval: 1m, scrapeTimeout: 1m1s}`, "podMonitor.scrapeTimeout, 1m1s, is longer than podMonitor.interval, 1m,"},
		{"a timeout above the interval of the endpoint", `serviceMonitor: {endpoint: {interval: 30s}}`, "serviceMonitor.scrapeTimeout, 60s, is longer than serviceMonitor.interval, 30s,"},
		{"a field of the monitor in the endpoint", `serviceMonitor: {endpoint: {jobLabel: a}}`, "write serviceMonitor.jobLabel"},
		{"a scrape without credentials", "webConfig: {secretName: web, auth: true}\nserviceMonitor: {enabled: true}", "set basicAuth, authorization, oauth2 or tlsConfig in serviceMonitor.endpoint"},
		{"a scrape without a CA", "webConfig: {secretName: web, tls: true}\npodMonitor: {enabled: true}", "set podMonitor.endpoint.tlsConfig"},
		{"a label of the selector in podLabels", `podLabels: {app.kubernetes.io/component: a}`, "podLabels: the chart sets app.kubernetes.io/component"},
		{"a label of the selector in commonLabels", `commonLabels: {app.kubernetes.io/name: a}`, "commonLabels: the chart sets app.kubernetes.io/name"},
		{"the annotation of the checksum", `podAnnotations: {checksum/config: a}`, "podAnnotations: the chart sets checksum/config"},
		{"a label of the chart in an object", `dashboard: {labels: {app.kubernetes.io/part-of: a}}`, "write app.kubernetes.io/part-of into commonLabels"},

		{"an unknown alert", `prometheusRule: {alerts: {TrueFoundryNothing: {enabled: false}}}`, "there is no alert TrueFoundryNothing: there are TrueFoundry"},
		{"an unknown field of an alert", `prometheusRule: {alerts: {` + firstAlert(t) + `: {severty: info}}}`, firstAlert(t) + ".severty: there is no such value; there are enabled, for, severity"},
		{"an invalid duration of an alert", `prometheusRule: {alerts: {` + firstAlert(t) + `: {for: an hour}}}`, "for must be a time such as 1h"},
		{"a for that is not restored after a restart", `prometheusRule: {alerts: {` + firstAlert(t) + `: {for: 9m59s}}}`, "write 0s, or at least 10m"},
		{"a severity in alertLabels", `prometheusRule: {alertLabels: {severity: info}}`, "write it into prometheusRule.alerts"},
		{"a name in alertLabels", `prometheusRule: {alertLabels: {alertname: info}}`, "alertname is no label that an alert can be given"},
		{"an unknown threshold", `prometheusRule: {thresholds: {"truefoundry:nothing": 1}}`, "there is no threshold truefoundry:nothing: there are truefoundry:"},
		{"a rule that is not a threshold", `prometheusRule: {thresholds: {"` + firstComputed(t) + `": 1}}`, "there is no threshold " + firstComputed(t)},
		{"a query for a threshold", threshold(t, `"up * 2"`), "must be a number above 0"},
		{"a negative threshold", threshold(t, `-1`), "must be a number above 0"},
		{"a threshold of 0", threshold(t, `0`), "must be a number above 0"},
		{"a threshold of 0 as a string", threshold(t, `"0.0"`), "must be a number above 0"},
		{"a division by 0", threshold(t, `"1 / 0"`), "must be a number above 0"},
		{"a difference", threshold(t, `"1 - 2"`), "must be a number above 0"},
		{"an invalid aggregation label", `prometheusRule: {aggregationLabels: ["a b"]}`, "a b is no name of a label"},
		{"a runbook that is not a URL", `prometheusRule: {runbookUrl: wiki}`, "prometheusRule.runbookUrl must be a URL"},

		{"a Prometheus without a test image", `test: {image: "", prometheusUrl: "http://p"}`, "set that as well"},
		{"a Prometheus with a password", `test: {prometheusUrl: "http://u:` + secret + `@p"}`, "test.prometheusUrl must be a URL without a user and a password"},
		{"a test as root", `test: {runAsUser: 0}`, "at '/test/runAsUser': minimum: got 0, want 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := renderError(t, test.values)
			if !strings.Contains(got, test.want) {
				t.Errorf("the error does not contain %q: %s", test.want, got)
			}
			if strings.Contains(got, secret) {
				t.Errorf("the error contains the secret: %s", got)
			}
			for _, useless := range []string{"false schema", "'not' failed", "does not match pattern", "not allowed"} {
				if strings.Contains(got, useless) {
					t.Errorf("the error contains %q: %s", useless, got)
				}
			}
		})
	}
}

// threshold returns values with a value for a threshold.
func threshold(t *testing.T, value string) string {
	t.Helper()
	return `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": ` + value + `}}`
}

// These are similar to invalid values.
func TestValidValues(t *testing.T) {
	t.Parallel()
	for _, values := range []string{
		`targets: [{name: "1", url: "https://a", keySecret: {name: s, key: k}}]`,
		`targets: [{url: "https://a.example:8443/b", keySecret: {name: s}}]`,
		targetAt("http://[fd00::1]:80/a/b"),
		targetAt("https://a.example./api/svcs"),
		targetAt("https://a.example:65535/api"),
		target + `keySecret: null, keyFile: /vault/secrets/a}]`,
		target + `http: {http_headers: {X-Team: {values: [a]}}, proxy_url: "http://p", no_proxy: a, enable_http2: false, follow_redirects: false}}]`,
		target + `http: {http_headers: {X-Auth-Token: {files: [/a]}}}}]`,
		target + `http: {oauth2: {client_id: i, token_url: "https://o", endpoint_params: {audience: a}}}}]`,
		`serviceMonitor: {interval: 1m30s, scrapeTimeout: 90s}`,
		"webConfig: {secretName: web, auth: true}\nserviceMonitor: {enabled: true, endpoint: {basicAuth: {username: {name: s, key: k}}}}",
		"webConfig: {secretName: web, auth: true, tls: true}",
		`image: {repository: "images.example:5000/a"}`,
		"extraVolumes: [{name: key}]\nextraVolumeMounts: [{name: key, mountPath: /etc/truefoundry-exporters}]",
		`extraArgs: [--log.level=debug, --truefoundry.timeout=1m30s, --no-web.enable-lifecycle]`,
		`extraEnv: [{name: HTTPS_PROXY, valueFrom: {secretKeyRef: {name: a, key: b}}}]`,
		`global: {anything: {of: a parent}}`,
		`prometheusRule: {alerts: {` + firstAlert(t) + `: {for: 0s}}}`,
		`prometheusRule: {alerts: {` + firstAlert(t) + `: {for: 10m}}}`,
		threshold(t, `"0.05 * 10 + 100/3"`),
	} {
		if _, err := renderDir(t, chartDir, values); err != nil {
			t.Errorf("%s: %v", values, err)
		}
	}
}

func TestReleaseNames(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{"a": true, "a-1": true, "1a": false, "a.b": false} {
		for _, override := range []string{"", "tfy"} {
			_, errOut, err := run(t, helmPath, "template", name, chartDir, "--values", chartDir+"/ci/minimal-values.yaml", "--set", "fullnameOverride="+override)
			if (err == nil) != (good || override != "") || err != nil && !strings.Contains(errOut, "set fullnameOverride") {
				t.Errorf("%s with %q: %v %s", name, override, err, errOut)
			}
		}
	}
}

func TestAllErrorsAreReportedTogether(t *testing.T) {
	t.Parallel()
	got := renderError(t, `{image: {repository: ""}, targets: [], replicaCount: 2, extraArgs: [--config.file=a]}`)
	for _, want := range []string{"image.repository", "targets is empty", "write replicas", "--config.file"} {
		if !strings.Contains(got, want) {
			t.Errorf("the error does not contain %q: %s", want, got)
		}
	}
}

// Values that companies use are rendered, or there is an error that says what to write
// instead.
func TestValuesOfCompanies(t *testing.T) {
	t.Parallel()
	sets := valuesOfCompanies(t)
	for name, values := range sets.Rendered {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustRender(t, toYAML(t, values))
		})
	}
	for name, set := range sets.Refused {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := renderError(t, toYAML(t, set.Values)); !strings.Contains(got, set.Says) {
				t.Errorf("the error does not contain %q: %s", set.Says, got)
			}
		})
	}
}

// companies are values like those of companies.
type companies struct {
	Rendered map[string]map[string]any
	Refused  map[string]struct {
		Values map[string]any
		Says   string
	}
}

func valuesOfCompanies(t *testing.T) (sets companies) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(read(t, "testdata/values.yaml")), &sets); err != nil {
		t.Fatal(err)
	}
	if len(sets.Rendered) == 0 || len(sets.Refused) == 0 {
		t.Fatal("there are no values")
	}
	return sets
}

func toYAML(t *testing.T, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReservedHeadersAreRejected(t *testing.T) {
	t.Parallel()
	names := slices.Sorted(maps.Keys(common.ReservedHeaders))
	var headers strings.Builder
	for _, name := range names {
		headers.WriteString(name + ": {values: [a]}, ")
	}
	got := renderError(t, target+`http: {http_headers: {`+headers.String()+`}}}]`)
	for _, name := range names {
		if !strings.Contains(got, "the header "+name+" cannot be set") {
			t.Errorf("%s is not rejected: %s", name, got)
		}
	}
}
