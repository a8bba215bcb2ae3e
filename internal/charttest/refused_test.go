package charttest

import (
	"strings"
	"testing"
)

// A target, to which a test adds fields.
const target = `targets: [{name: a, url: "https://a", keySecret: {name: s, key: k}, `

func TestRefused(t *testing.T) {
	t.Parallel()
	const secret = "tfy-hush-hush"
	for _, test := range []struct{ name, values, want string }{
		{"no image", `image: {repository: ""}`, "image.repository is not set: no image of the exporter is published yet"},
		{"no targets", `targets: []`, "targets is empty"},
		{"one name twice", `targets: [{name: a, url: "https://a", keySecret: {name: s, key: k}}, {name: a, url: "https://b", keySecret: {name: s, key: l}}]`, "two of them have the name a"},
		{"no name", `targets: [{url: "https://a", keySecret: {name: s, key: k}}]`, "missing property 'name'"},
		{"no url", `targets: [{name: a, keySecret: {name: s, key: k}}]`, "missing property 'url'"},
		{"no key", `targets: [{name: a, url: "https://a"}]`, "missing property 'keySecret'"},
		{"half a key", `targets: [{name: a, url: "https://a", keySecret: {name: s}}]`, "missing property 'key'"},
		{"a name that leaves the folder", `targets: [{name: ../a, url: "https://a", keySecret: {name: s, key: k}}]`, "targets/0/name"},
		{"a name that is hidden", `targets: [{name: ..a, url: "https://a", keySecret: {name: s, key: k}}]`, "targets/0/name"},
		{"a name that is a number", `targets: [{name: 1, url: "https://a", keySecret: {name: s, key: k}}]`, "targets/0/name"},
		{"no scheme", `targets: [{name: a, url: acme.example, keySecret: {name: s, key: k}}]`, "targets/0/url"},
		{"an unknown kind", target + `kinds: [pat]}]`, "targets/0/kinds/0"},
		{"no kind", target + `kinds: []}]`, "targets/0/kinds"},
		{"a prefix without a slash", target + `apiPrefix: api}]`, "targets/0/apiPrefix"},
		{"a typing error", target + `apiKeytoken: x}]`, "additional properties 'apiKeytoken' not allowed"},
		{"two ways of authentication", target + `http: {basic_auth: {username: u}, oauth2: {client_id: i, token_url: "https://o"}}}]`, "has both"},

		{"a key as a value", target + `apiKey: ` + secret + `}]`, "'apiKey' not allowed"},
		{"a key in the reference", `targets: [{name: a, url: "https://a", keySecret: {name: s, key: k, value: ` + secret + `}}]`, "'value' not allowed"},
		{"a key in authorization", target + `http: {authorization: {credentials: ` + secret + `}}}]`, "http/authorization"},
		{"a bearer token", target + `http: {bearer_token: ` + secret + `}}]`, "http/bearer_token"},
		{"a password", target + `http: {basic_auth: {username: u, password: ` + secret + `}}}]`, "'password' not allowed"},
		{"a client's secret", target + `http: {oauth2: {client_id: i, token_url: "https://o", client_secret: ` + secret + `}}}]`, "oauth2/client_secret"},
		{"a TLS key", target + `http: {tls_config: {key: ` + secret + `}}}]`, "tls_config/key"},
		{"a TLS key of OAuth2", target + `http: {oauth2: {client_id: i, token_url: "https://o", tls_config: {key: ` + secret + `}}}}]`, "oauth2/tls_config/key"},
		{"a secret header", target + `http: {http_headers: {X: {secrets: [` + secret + `]}}}}]`, "http_headers/X/secrets"},
		{"a proxy's header", target + `http: {proxy_connect_header: {X: [` + secret + `]}}}]`, "http/proxy_connect_header"},
		{"a header for a key", target + `http: {http_headers: {x-api-KEY: {values: [` + secret + `]}}}}]`, "http_headers/x-api-KEY"},
		{"a header for a key in one word", target + `http: {http_headers: {ApiKey: {values: [` + secret + `]}}}}]`, "http_headers/ApiKey"},
		{"a header for a token", target + `http: {http_headers: {X-Auth-Token: {values: [` + secret + `]}}}}]`, "http_headers/X-Auth-Token"},
		{"a header for a secret", target + `http: {http_headers: {Client-SECRET: {values: [` + secret + `]}}}}]`, "http_headers/Client-SECRET"},
		{"a header for a password", target + `http: {http_headers: {X-Password: {values: [` + secret + `]}}}}]`, "http_headers/X-Password"},
		{"a header for authorization", target + `http: {http_headers: {AUTHORIZATION: {values: [` + secret + `]}}}}]`, "http_headers/AUTHORIZATION"},
		{"a header for the proxy's", target + `http: {http_headers: {Proxy-Authorization: {values: [` + secret + `]}}}}]`, "http_headers/Proxy-Authorization"},
		{"a cookie", target + `http: {http_headers: {cookie: {values: [` + secret + `]}}}}]`, "http_headers/cookie"},
		{"a client's secret as a parameter", target + `http: {oauth2: {client_id: i, token_url: "https://o", endpoint_params: {client_secret: ` + secret + `}}}}]`, "endpoint_params/client_secret"},
		{"a password as a parameter", target + `http: {oauth2: {client_id: i, token_url: "https://o", endpoint_params: {password: ` + secret + `}}}}]`, "endpoint_params/password"},
		{"an assertion as a parameter", target + `http: {oauth2: {client_id: i, token_url: "https://o", endpoint_params: {client_assertion: ` + secret + `}}}}]`, "endpoint_params/client_assertion"},
		{"another assertion as a parameter", target + `http: {oauth2: {client_id: i, token_url: "https://o", endpoint_params: {assertion: ` + secret + `}}}}]`, "endpoint_params/assertion"},
		{"an unknown field of http", target + `http: {proxy: "http://p"}}]`, "'proxy' not allowed"},
		{"a URL's query", `targets: [{name: a, url: "https://a/?b=` + secret + `", keySecret: {name: s, key: k}}]`, "targets/0/url"},
		{"a URL's port that is none", `targets: [{name: a, url: "https://a:b", keySecret: {name: s, key: k}}]`, "targets/0/url"},
		{"a URL with a space", `targets: [{name: a, url: "https://a b", keySecret: {name: s, key: k}}]`, "targets/0/url"},
		{"a proxy's password", target + `http: {proxy_url: "http://u:` + secret + `@p"}}]`, "http/proxy_url"},
		{"a password in the URL", `targets: [{name: a, url: "https://u:` + secret + `@a", keySecret: {name: s, key: k}}]`, "targets/0/url"},
		{"a key as a flag", `extraArgs: ["` + secret + `"]`, "extraArgs/0"},
		{"an environment", `env: [{name: TFY_API_KEY, value: ` + secret + `}]`, "'env' not allowed"},

		{"a flag that the chart sets", `extraArgs: [--config.file=x]`, "extraArgs/0"},
		{"the demonstration", `extraArgs: [--demo]`, "extraArgs/0"},
		{"a flag of a single target", `extraArgs: ["--truefoundry.url=https://a"]`, "extraArgs/0"},
		{"a name for a single target", `extraArgs: ["--truefoundry.target=a"]`, "extraArgs/0"},
		{"TLS of no web configuration", `webConfig: {tls: true}`, "set webConfig.secretName"},
		{"a subPath", `extraVolumeMounts: [{name: a, mountPath: /a, subPath: b}]`, "extraVolumeMounts/0/subPath"},
		{"a Prometheus that nobody asks", `test: {image: "", prometheusUrl: "http://p"}`, "set that as well"},
		{"an interval that is none", `serviceMonitor: {interval: 2}`, "serviceMonitor/interval"},
		{"a label that is no text", `serviceMonitor: {labels: {a: 1}}`, "serviceMonitor/labels/a"},
		{"an unknown value", `serviceMonitors: {enabled: true}`, "'serviceMonitors' not allowed"},

		{"a scrape longer than its interval", `serviceMonitor: {interval: 1m, scrapeTimeout: 1m1s}`, "serviceMonitor.scrapeTimeout, 1m1s, is longer than serviceMonitor.interval, 1m:"},
		{"a scrape without credentials", "webConfig: {secretName: web, auth: true}\nserviceMonitor: {enabled: true}", "set basicAuth, authorization, oauth2 or tlsConfig"},
		{"a scrape without a CA", "webConfig: {secretName: web, tls: true}\nserviceMonitor: {enabled: true}", "set serviceMonitor.endpoint.tlsConfig"},
		{"a selector's label of the pod", `podLabels: {app.kubernetes.io/component: a}`, "podLabels/app.kubernetes.io~1component"},
		{"the checksum's annotation", `podAnnotations: {checksum/config: a}`, "podAnnotations/checksum~1config"},
		{"a label of the chart in the ServiceMonitor", `serviceMonitor: {labels: {app.kubernetes.io/name: a}}`, "serviceMonitor/labels/app.kubernetes.io~1name"},
		{"a label of the chart in the rules", `prometheusRule: {labels: {app.kubernetes.io/name: a}}`, "prometheusRule/labels/app.kubernetes.io~1name"},
		{"a label of the chart in the dashboard", `dashboard: {labels: {app.kubernetes.io/name: a}}`, "dashboard/labels/app.kubernetes.io~1name"},
		{"a volume of the chart", `extraVolumes: [{name: keys}]`, "a volume keys of its own"},
		{"a mount over the chart's", `extraVolumeMounts: [{name: a, mountPath: /etc/truefoundry-exporter/keys/}]`, "hides what the chart mounts"},
		{"a mount over all", `extraVolumeMounts: [{name: a, mountPath: /etc/}]`, "hides what the chart mounts"},
		{"a tag in the repository", `image: {repository: "images.example:5000/a:1.2"}`, "image.repository has a tag, 1.2"},
		{"a grace period that is none", `terminationGracePeriodSeconds: 0`, "/terminationGracePeriodSeconds"},
		{"a test by root", `test: {runAsUser: 0}`, "test/runAsUser"},

		{"an unknown alert", `prometheusRule: {alerts: {TrueFoundryNothing: {enabled: false}}}`, "there is no alert TrueFoundryNothing, but TrueFoundry"},
		{"an alert's unknown field", `prometheusRule: {alerts: {` + firstAlert(t) + `: {severty: info}}}`, "'severty' not allowed"},
		{"an alert's wrong time", `prometheusRule: {alerts: {` + firstAlert(t) + `: {for: 10}}}`, "/for"},
		{"a time that Prometheus forgets", `prometheusRule: {alerts: {` + firstAlert(t) + `: {for: 9m59s}}}`, "set 0s, or at least 10m"},
		{"a severity for all", `prometheusRule: {alertLabels: {severity: info}}`, "alertLabels/severity"},
		{"an unknown threshold", `prometheusRule: {thresholds: {"truefoundry:nothing": 1}}`, "there is no threshold truefoundry:nothing, but truefoundry:"},
		{"a rule that is no threshold", `prometheusRule: {thresholds: {"` + firstComputed(t) + `": 1}}`, "there is no threshold " + firstComputed(t)},
		{"a query for a threshold", `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": "up * 2"}}`, "/thresholds/"},
		{"a threshold below nothing", `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": -1}}`, "/thresholds/"},
		{"a threshold of nothing", `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": 0}}`, "/thresholds/"},
		{"a threshold of nothing as text", `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": "0.0"}}`, "/thresholds/"},
		{"a division by nothing", `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": "1 / 0"}}`, "/thresholds/"},
		{"a difference", `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": "1 - 2"}}`, "/thresholds/"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := refused(t, test.values)
			if !strings.Contains(got, test.want) {
				t.Errorf("it does not say %q: %s", test.want, got)
			}
			// Of a URL and a flag, the schema says what it is; nothing else repeats a secret.
			if strings.Contains(got, secret) && test.name != "a key as a flag" {
				t.Errorf("it repeats the secret: %s", got)
			}
		})
	}
}

// What is near to what is refused.
func TestNotRefused(t *testing.T) {
	t.Parallel()
	for _, values := range []string{
		target + `http: {http_headers: {X-Team: {values: [a]}}, no_proxy: a, proxy_from_environment: true, enable_http2: false, follow_redirects: false}}]`,
		target + `http: {oauth2: {client_id: i, token_url: "https://o", endpoint_params: {audience: a}}}}]`,
		`targets: [{name: a, url: "http://[fd00::1]:80/a/b", keySecret: {name: s, key: k}}]`,
		`serviceMonitor: {interval: 1m30s, scrapeTimeout: 90s}`,
		"webConfig: {secretName: web, auth: true}\nserviceMonitor: {enabled: true, endpoint: {basicAuth: {username: {name: s, key: k}}}}",
		"webConfig: {secretName: web, auth: true, tls: true}",
		`image: {repository: "images.example:5000/a"}`,
		"extraVolumes: [{name: key}]\nextraVolumeMounts: [{name: key, mountPath: /etc/truefoundry-exporters}]",
		`prometheusRule: {alerts: {` + firstAlert(t) + `: {for: 0s}}}`,
		`prometheusRule: {alerts: {` + firstAlert(t) + `: {for: 10m}}}`,
		`prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": "0.05 * 10 + 100/3"}}`,
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

// Everything that is wrong is said at once.
func TestRefusedTogether(t *testing.T) {
	t.Parallel()
	_, errOut, err := run(t, helmPath, "template", chartDir)
	for _, want := range []string{"image.repository", "targets is empty"} {
		if err == nil || !strings.Contains(errOut, want) {
			t.Errorf("it does not say %q: %v %s", want, err, errOut)
		}
	}
}
