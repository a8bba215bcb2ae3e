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
		{"a proxy's password", target + `http: {proxy_url: "http://u:` + secret + `@p"}}]`, "http/proxy_url"},
		{"a password in the URL", `targets: [{name: a, url: "https://u:` + secret + `@a", keySecret: {name: s, key: k}}]`, "targets/0/url"},
		{"a key as a flag", `extraArgs: ["` + secret + `"]`, "extraArgs/0"},
		{"an environment", `env: [{name: TFY_API_KEY, value: ` + secret + `}]`, "'env' not allowed"},

		{"a flag that the chart sets", `extraArgs: [--config.file=x]`, "extraArgs/0"},
		{"the demonstration", `extraArgs: [--demo]`, "extraArgs/0"},
		{"a flag of a single target", `extraArgs: ["--truefoundry.url=https://a"]`, "extraArgs/0"},
		{"TLS of no web configuration", `webConfig: {tls: true}`, "set webConfig.secretName"},
		{"a subPath", `extraVolumeMounts: [{name: a, mountPath: /a, subPath: b}]`, "extraVolumeMounts/0/subPath"},
		{"a Prometheus that nobody asks", `test: {prometheusUrl: "http://p"}`, "set that as well"},
		{"an interval that is none", `serviceMonitor: {interval: 2}`, "serviceMonitor/interval"},
		{"a label that is no text", `serviceMonitor: {labels: {a: 1}}`, "serviceMonitor/labels/a"},
		{"an unknown value", `serviceMonitors: {enabled: true}`, "'serviceMonitors' not allowed"},

		{"an unknown alert", `prometheusRule: {alerts: {TrueFoundryNothing: {enabled: false}}}`, "there is no alert TrueFoundryNothing, but TrueFoundry"},
		{"an alert's unknown field", `prometheusRule: {alerts: {` + firstAlert(t) + `: {severty: info}}}`, "'severty' not allowed"},
		{"an alert's wrong time", `prometheusRule: {alerts: {` + firstAlert(t) + `: {for: 10}}}`, "/for"},
		{"a severity for all", `prometheusRule: {alertLabels: {severity: info}}`, "alertLabels/severity"},
		{"an unknown threshold", `prometheusRule: {thresholds: {"truefoundry:nothing": 1}}`, "there is no threshold truefoundry:nothing, but truefoundry:"},
		{"a rule that is no threshold", `prometheusRule: {thresholds: {"` + firstComputed(t) + `": 1}}`, "there is no threshold " + firstComputed(t)},
		{"a query for a threshold", `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": "up * 2"}}`, "/thresholds/"},
		{"a threshold below nothing", `prometheusRule: {thresholds: {"` + thresholds(t)[0] + `": -1}}`, "/thresholds/"},
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
