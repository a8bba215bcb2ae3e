package chart

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// These mistakes prevent the exporter from starting. The chart reports most of them; for the
// others, the expected error is empty.
func TestValuesThatTheExporterRejects(t *testing.T) {
	t.Parallel()
	dir := chartWithoutValidation(t)
	oauth2 := func(fields string) string { return target + `http: {oauth2: {` + fields + `}}}]` }
	for _, test := range []struct{ name, values, chartError string }{
		{"a name that is too long", `targets: [{name: ` + strings.Repeat("a", 101) + `, url: "https://a", keySecret: {name: s, key: k}}]`, "write at most 100 letters"},
		{"duplicate names", `targets: [{name: a, url: "https://a", keySecret: {name: s, key: k}}, {name: a, url: "https://b", keySecret: {name: s, key: l}}]`, "two of the targets have the name a"},
		{"no URL", `targets: [{name: a, keySecret: {name: s, key: k}}]`, "targets[0] has no url: write one"},
		{"no scheme", targetAt("acme.example"), "targets[0].url must begin with https:// or http://"},
		{"another scheme", targetAt("ftp://acme.example"), "targets[0].url must begin with https:// or http://"},
		{"no host", targetAt("https:///a"), "targets[0].url must begin with https:// or http://"},
		{"an invalid host", targetAt("https://a b"), "targets[0].url must begin with https:// or http://"},
		{"an invalid port", targetAt("https://a:99999"), "targets[0].url has a port that there is not: write one from 1 to 65535"},
		{"port 0", targetAt("https://a:0"), "targets[0].url has a port that there is not"},
		{"a user in the URL", targetAt("https://u@a"), "targets[0].url has a user or a password: leave them out"},
		{"a query", targetAt("https://a?b"), "targets[0].url has a query or a fragment"},
		{"the API's prefix in the URL", targetAt("https://a/api/svc"), "has /api/svc in it, which apiPrefix adds: leave it out"},
		{"the API's prefix and a slash in the URL", targetAt("https://a/api/svc/"), "has /api/svc in it"},
		{"an endpoint as the URL", targetAt("https://a/api/svc/v1/personal-access-tokens"), "has /api/svc in it"},
		{"a custom prefix in the URL", `targets: [{name: a, url: "https://a/x", apiPrefix: /x, keySecret: {name: s, key: k}}]`, "has /x in it, which apiPrefix adds"},
		{"a prefix without a slash", target + `apiPrefix: api}]`, `apiPrefix must be "" or a path such as /api/svc`},
		{"a prefix with a query", target + `apiPrefix: "/api?a"}]`, `apiPrefix must be "" or a path`},
		{"a prefix with dots", target + `apiPrefix: /api/../svc}]`, "apiPrefix has . or .. in it"},
		{"a prefix with two slashes", target + `apiPrefix: /api//svc}]`, `apiPrefix must be "" or a path`},
		{"an unknown kind", target + `kinds: [pat]}]`, "value must be one of 'personal-access-token', 'virtual-account'"},
		{"no kind", target + `kinds: []}]`, "kinds is empty: write [personal-access-token]"},
		{"duplicate kinds", target + `kinds: [virtual-account, virtual-account]}]`, "kinds has a kind twice"},

		{"redirects", target + `http: {follow_redirects: true}}]`, "redirects are never followed"},
		{"a proxy and the proxy of the environment", target + `http: {proxy_url: "http://p", proxy_from_environment: true}}]`, "has both proxy_url and proxy_from_environment"},
		{"no_proxy without a proxy", target + `http: {no_proxy: a}}]`, "no_proxy needs proxy_url: write that as well"},
		{"no_proxy with the proxy of the environment", target + `http: {no_proxy: a, proxy_from_environment: true}}]`, "set NO_PROXY in extraEnv"},
		{"a proxy without a scheme", target + `http: {proxy_url: "proxy.example:3128"}}]`, "proxy_url must begin with http://"},
		{"an FTP proxy", target + `http: {proxy_url: "ftp://proxy.example"}}]`, "proxy_url must begin with http://"},
		{"a misspelt field of TLS", target + `http: {tls_config: {insecure_skip_verfy: true}}}]`, "tls_config.insecure_skip_verfy: there is no such value; there are ca, ca_file"},
		{"a misspelt field of http", target + `http: {tls: {}}}]`, "targets[0].http.tls: "},
		{"a certificate without a key", target + `http: {tls_config: {cert_file: /a}}}]`, "has a client certificate without its key: write key_file as well"},
		{"a key without a certificate", target + `http: {tls_config: {key_file: /a}}}]`, "has key_file without a client certificate"},
		{"two CAs", target + `http: {tls_config: {ca_file: /a, ca: b}}}]`, "has both ca and ca_file"},
		{"two certificates", target + `http: {tls_config: {cert_file: /a, cert: b, key_file: /c}}}]`, "has both cert and cert_file"},
		{"an invalid CA", target + `http: {tls_config: {ca: b}}}]`, "ca is no certificate in PEM"},
		{"an invalid CA with a valid first line", target + `http: {tls_config: {ca: "-----BEGIN CERTIFICATE-----"}}}]`, ""},
		{"an unknown TLS version", target + `http: {tls_config: {min_version: TLS9}}}]`, "value must be one of 'TLS10'"},
		{"TLS versions in the wrong order", target + `http: {tls_config: {min_version: TLS13, max_version: TLS12}}}]`, "min_version is above max_version"},
		{"an invalid header name", target + `http: {http_headers: {"a b": {values: [c]}}}}]`, "has a name that cannot be sent"},
		{"an invalid header value", target + `http: {http_headers: {a: {values: ["b\nc"]}}}}]`, "has a control character"},
		{"a reserved header", target + `http: {http_headers: {user-agent: {values: [c]}}}}]`, "the header user-agent cannot be set"},
		{"no client", oauth2(`token_url: "https://o"`), "oauth2 has no client_id"},
		{"no token URL", oauth2(`client_id: i`), "token_url must begin with https://"},
		{"a token URL without a scheme", oauth2(`client_id: i, token_url: o`), "token_url must begin with https://"},
		{"a user in the token URL", oauth2(`client_id: i, token_url: "https://u@o"`), "token_url has a user or a password"},
		{"another grant", oauth2(`client_id: i, token_url: "https://o", grant_type: password`), "value must be one of 'client_credentials'"},
		{"a claim", oauth2(`client_id: i, token_url: "https://o", claims: {a: b}`), "oauth2.claims: client_credentials has no use for it"},
		{"OAuth2 through two proxies", oauth2(`client_id: i, token_url: "https://o", proxy_url: "http://p", proxy_from_environment: true`), "oauth2 has both proxy_url and proxy_from_environment"},

		{"an unknown flag", `extraArgs: [--truefoundry.page-sise=1]`, "there is no --truefoundry.page-sise for the chart: there are --log.format"},
		{"a flag without dashes", `extraArgs: [log.level=debug]`, "extraArgs[0] must be one flag"},
		{"duplicate flags", `extraArgs: [--log.level=debug, --log.level=info]`, "extraArgs has --log.level twice"},
		{"a value for a boolean flag", `extraArgs: [--web.enable-lifecycle=true]`, "--web.enable-lifecycle has no value"},
		{"a flag without a value", `extraArgs: [--log.level]`, "--log.level must have debug, info, warn or error"},
		{"an unknown log level", `extraArgs: [--log.level=loud]`, "--log.level must have debug, info, warn or error"},
		{"a page size that is too large", `extraArgs: [--truefoundry.page-size=1001]`, "--truefoundry.page-size must have a number from 1 to 1000"},
		{"page size 0", `extraArgs: [--truefoundry.page-size=0]`, "--truefoundry.page-size must have a number from 1 to 1000"},
		{"concurrency 0", `extraArgs: [--truefoundry.max-concurrency=0]`, "--truefoundry.max-concurrency must have a number above 0"},
		{"0 tokens", `extraArgs: [--truefoundry.max-tokens=0]`, "--truefoundry.max-tokens must have a number above 0"},
		{"a duration without a unit", `extraArgs: [--truefoundry.timeout=60]`, "--truefoundry.timeout must have a time such as 60s"},
		{"a timeout of 0s", `extraArgs: [--truefoundry.timeout=0s]`, ""},
		{"a timeout of more than a day", `extraArgs: [--truefoundry.timeout=25h]`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := renderDir(t, chartDir, test.values); test.chartError == "" {
				if err != nil {
					t.Errorf("the chart reports the mistake: %v", err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.chartError) {
				t.Errorf("the error of the chart is not %q: %v", test.chartError, err)
			}
			out, err := renderDir(t, dir, test.values)
			if err != nil {
				t.Fatal(err)
			}
			if startError(t, decode(t, out)) == "" {
				t.Error("the exporter starts")
			}
		})
	}
}

// This tries all pairs of these values of a target.
func TestTheExporterStartsWithAllValuesThatTheChartAccepts(t *testing.T) {
	t.Parallel()
	samples := []struct {
		path   string
		values []string
	}{
		{"url", []string{
			`https://a`, `http://a.svc:3000`, `https://a/`, `https://a/b/c`, `https://[fd00::1]:8443`, `https://a/api/svc`, `https://a/api/svc/v1`, `https://a:99999`, `https://a:00`,
			`https://a..b`, `https://a_b`, `https://a/%62`, `https://a/b%2`, `https://a\b`, `https://A.EXAMPLE`, `https://a:`, `https://:80`, `https://[::1`, `https://ä.example`, ` https://a`,
			`HTTPS://a`, `https://a//b`, `https://-a`, `https://1.2.3.4`, `https://a/b c`, `https://a/ä`, `https://[zz]`, `https://a/api/svc/`, `https://a/b/`, `https://[fd00::1`,
		}},
		{"apiPrefix", []string{`""`, `/`, `/b/c`, `/b/`, `b`, `/.`, `/..a`, `//`, `/b//`, `/api/svc`, `"/b c"`, `/ä`, `"/b\\c"`, `/%62`, `"/b\t"`}},
		{"kinds", []string{`[virtual-account]`, `[]`}},
		{"apiKeyToken", []string{`""`, `prometheus`, `"a b"`}},
		{"http.follow_redirects", []string{`false`, `true`}},
		{"http.enable_http2", []string{`false`}},
		{"http.proxy_url", []string{`http://p:3128`, `socks5h://p`, `""`, `p`, `"http://"`, `http://p:99999`, `http://p/path`, `"https://[::1]:1"`, `"http://p:"`, `"http://p p"`, `"http://%zz"`}},
		{"http.no_proxy", []string{`a`, `""`}},
		{"http.proxy_from_environment", []string{`true`, `false`}},
		{"http.http_headers", []string{`{}`, `{A: {values: [b]}}`, `{A: {}}`, `{A: {values: ["ä"]}}`, `{"": {values: [b]}}`, `{"a:b": {values: [b]}}`, `{A: {values: ["b\tc"]}}`, `{A: null}`}},
		{"http.tls_config", []string{`{}`, `{server_name: ""}`, `{insecure_skip_verify: true}`, `{cert_file: ""}`, `{min_version: TLS12, max_version: TLS12}`, `{ca: ""}`}},
		{"http.oauth2", []string{
			`{}`, `{client_id: i, token_url: "https://o"}`, `{client_id: i, token_url: "https://o:1/p?q=r"}`, `{client_id: i, token_url: "https://o/%zz"}`, `{client_id: "", token_url: "https://o"}`,
			`{client_id: i, token_url: "https://o", scopes: [], endpoint_params: {}, grant_type: ""}`, `{client_id: i, token_url: "https://o:x"}`, `{client_id: i, token_url: "https://o:99999"}`,
			`{client_id: i, token_url: "https://o", no_proxy: a}`, `{client_id: i, token_url: "https://o", tls_config: {cert_file: /a}}`,
		}},
	}
	combinations := map[string]string{} // by target name
	add := func(fields map[string]string) {
		name := fmt.Sprintf("t%04d", len(combinations))
		http, own := []string{}, []string{"name: " + name, "keySecret: {name: s, key: k}"}
		if fields["url"] == "" {
			own = append(own, "url: https://a")
		}
		for _, path := range slices.Sorted(maps.Keys(fields)) {
			if field, ok := strings.CutPrefix(path, "http."); ok {
				http = append(http, field+": "+fields[path])
				continue
			}
			value := fields[path]
			if path == "url" {
				value = strconv.Quote(value)
			}
			own = append(own, path+": "+value)
		}
		combinations[name] = "{" + strings.Join(append(own, "http: {"+strings.Join(http, ", ")+"}"), ", ") + "}"
	}
	for i, sample := range samples {
		for _, value := range sample.values {
			for _, other := range samples[i+1:] {
				for _, otherValue := range other.values {
					add(map[string]string{sample.path: value, other.path: otherValue})
				}
			}
		}
	}
	names := slices.Sorted(maps.Keys(combinations))
	values := func() string {
		list := make([]string, len(names))
		for i, name := range names {
			list[i] = "- " + combinations[name]
		}
		return "targets:\n" + strings.Join(list, "\n")
	}
	// drop removes the targets in an error message, and returns the errors by target name.
	drop := func(output string) map[string]string {
		dropped := map[string]string{}
		for _, match := range regexp.MustCompile(`targets\[(\d+)\]([^;\n]*)`).FindAllStringSubmatch(output, -1) {
			index, err := strconv.Atoi(match[1])
			if err != nil {
				t.Fatal(err)
			}
			dropped[names[index]] = match[2]
		}
		names = slices.DeleteFunc(names, func(name string) bool { return dropped[name] != "" })
		return dropped
	}
	all := len(names)
	_, err := renderDir(t, chartDir, values())
	if err == nil || len(drop(err.Error())) == 0 {
		t.Fatalf("the chart accepts all combinations: %v", err)
	}
	if len(names) < all/10 {
		t.Fatalf("the chart accepts only %d of %d", len(names), all)
	}
	t.Logf("the chart accepts %d of %d", len(names), all)
	for {
		startErr := startError(t, mustRender(t, values()))
		if startErr == "" {
			break
		}
		dropped := drop(startErr)
		for name, text := range dropped {
			t.Errorf("the chart accepts %s, but the exporter does not: %s", combinations[name], text)
		}
		if len(dropped) == 0 {
			t.Fatalf("the error of the exporter names no target: %s", startErr)
		}
	}
}

func TestTheExporterStartsWithTheValuesInCI(t *testing.T) {
	t.Parallel()
	for _, values := range []string{"minimal-values.yaml", "full-values.yaml"} {
		if err := startError(t, mustRender(t, values)); err != "" {
			t.Errorf("%s: %s", values, err)
		}
	}
}

// Each flag of the exporter is in files/flags.yaml or set by the chart.
func TestFlags(t *testing.T) {
	t.Parallel()
	help, errOut, err := run(t, exporterPath, "--help-long")
	if err != nil {
		t.Fatalf("%v %s", err, errOut)
	}
	var flags map[string][]string
	if err := yaml.UnmarshalStrict([]byte(read(t, chartDir, "files/flags.yaml")), &flags); err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^  (?:-h, |    )--(\[no-\])?([a-z.-]+)`).FindAllStringSubmatch(help+errOut, -1) {
		name, isSwitch := match[2], match[1] != ""
		if slices.Contains([]string{"help", "version", "demo", "once", "once.shape"}, name) {
			continue // of no use in a pod
		}
		rest, known := flags[name]
		delete(flags, name)
		value := "=1"
		if isSwitch {
			value = ""
		}
		switch err := renderErrorIfAny(t, `extraArgs: ["--`+name+value+`"]`); {
		case known && (len(rest) == 0) != isSwitch:
			t.Errorf("--%s is a boolean flag: %v; files/flags.yaml disagrees", name, isSwitch)
		case !known && !strings.Contains(err, "the chart sets --"+name+": write "):
			t.Errorf("the chart does not know --%s: %s", name, err)
		}
	}
	if len(flags) > 0 {
		t.Errorf("files/flags.yaml has flags that do not exist: %v", flags)
	}
}

// renderErrorIfAny returns the error of rendering the chart, or an empty string.
func renderErrorIfAny(t *testing.T, values string) string {
	t.Helper()
	if _, err := renderDir(t, chartDir, values); err != nil {
		return err.Error()
	}
	return ""
}

// chartWithoutValidation returns a copy of the chart that does not validate values.
func chartWithoutValidation(t *testing.T) (dir string) {
	t.Helper()
	dir = copyChart(t)
	write(t, `{{- define "truefoundry-exporter.validate" -}}{{- end }}`, dir, "templates/_validate.tpl")
	write(t, `{}`, dir, "values.schema.json")
	return dir
}

// startError returns the errors of the exporter with the arguments and the configuration of
// the Deployment. It ignores errors of single targets, whose Secrets do not exist here.
func startError(t *testing.T, all objects) string {
	t.Helper()
	dir := t.TempDir()
	var (
		pod  core.PodSpec
		file string
	)
	for id := range all {
		if name, found := strings.CutPrefix(id, "Deployment/"); found {
			pod = deploymentNamed(t, all, name).Spec.Template.Spec
			file = writeMounts(t, dir, pod, config(t, all, name))
		}
	}
	args := []string{"--config.file=" + file, "--config.check"}
	for _, arg := range pod.Containers[0].Args[1:] {
		if !strings.HasPrefix(arg, "--web.config.file=") { // in a Secret
			args = append(args, arg)
		}
	}
	_, errOut, err := run(t, exporterPath, args...)
	if err == nil {
		return ""
	}
	var messages strings.Builder
	for line := range strings.Lines(errOut) {
		if strings.Contains(line, "error: ") && !strings.Contains(line, "error: target ") {
			messages.WriteString(strings.ReplaceAll(line, filepath.Dir(file), ""))
		}
	}
	return messages.String()
}
