package chart

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// patience is the timeout for everything that should happen soon. It is long enough for a
// busy machine.
const patience = 30 * time.Second

// The exporter finds each key at its path in the pod. Another directory is used instead of
// /etc/truefoundry-exporter.
func TestTheExporterFindsTheKeys(t *testing.T) {
	t.Parallel()
	all := mustRender(t, "full-values.yaml")
	pod := deploymentNamed(t, all, "tfy-exporter").Spec.Template.Spec
	dir := t.TempDir()
	file := writeMounts(t, dir, pod, strings.ReplaceAll(config(t, all, "tfy-exporter"), "/etc/globex", filepath.Join(dir, "globex")))

	check := func() string {
		args := slices.Clone(get[*core.Pod](t, all, "Pod/tfy-exporter-test-config").Spec.Containers[0].Args)
		args[0] = "--config.file=" + file
		out, errOut, err := run(t, exporterPath, args...)
		return fmt.Sprint(out, errOut, err)
	}
	// Only the files of extraVolumes are missing. The chart does not create them.
	got := check()
	missing := strings.Count(got, `error: target "globex": a file that the connection needs cannot be read: `+dir+`/globex/`) +
		strings.Count(got, "no usable API key in file /vault/secrets/initech: no such file")
	if missing < 2 || strings.Count(got, "truefoundry_exporter: error: ") != missing {
		t.Errorf("got %s", got)
	}
	if err := os.Remove(filepath.Join(dir, "keys/acme-ci")); err != nil {
		t.Fatal(err)
	}
	if got := check(); !strings.Contains(got, `target "acme-ci"`) || !strings.Contains(got, "no such file") {
		t.Errorf("got %s", got)
	}
}

// writeMounts writes the files that the pod mounts below /etc/truefoundry-exporter to dir,
// with a test key for each key in a Secret. It returns the path of the configuration file.
func writeMounts(t *testing.T, dir string, pod core.PodSpec, config string) (file string) {
	t.Helper()
	const root = "/etc/truefoundry-exporter"
	for _, mount := range pod.Containers[0].VolumeMounts {
		for _, volume := range pod.Volumes {
			if volume.Name != mount.Name {
				continue
			}
			if volume.ConfigMap != nil {
				write(t, config, dir, strings.TrimPrefix(mount.MountPath, root), "targets.yml")
			}
			if volume.Projected == nil {
				continue
			}
			for _, source := range volume.Projected.Sources {
				for _, item := range source.Secret.Items {
					write(t, "tfy_made-up", dir, strings.TrimPrefix(mount.MountPath, root), item.Path)
				}
			}
		}
	}
	path, found := strings.CutPrefix(pod.Containers[0].Args[0], "--config.file="+root)
	if !found {
		t.Fatalf("the first of %q is not --config.file", pod.Containers[0].Args)
	}
	return filepath.Join(dir, path)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	all := mustRender(t, "full-values.yaml")
	for id, pod := range pods(t, all, "tfy-exporter") {
		if strings.HasSuffix(id, "-answers") {
			continue
		}
		keys := map[string]string{}
		for _, volume := range pod.Spec.Volumes {
			if volume.Name != "keys" {
				continue
			}
			for _, source := range volume.Projected.Sources {
				if source.Secret.Optional == nil || !*source.Secret.Optional {
					t.Errorf("%s: the Secret %s is not optional", id, source.Secret.Name)
				}
				for _, item := range source.Secret.Items {
					keys[item.Path] = source.Secret.Name + "/" + item.Key
				}
			}
		}
		want := map[string]string{
			"acme-ci": "truefoundry-keys/acme-ci", "acme-services": "truefoundry-keys/acme-services",
			"globex": "globex/api_key", "umbrella": "umbrella/client.secret",
		}
		if fmt.Sprint(keys) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", id, keys, want)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, values, want string }{
		{"required fields", `}]`, `
targets:
- {name: a, url: "https://a", authorization: {credentials_file: ../keys/a}}`},
		{"no name", `name: null}]`, `
targets:
- {name: a, url: "https://a", authorization: {credentials_file: ../keys/a}}`},
		{"all fields", `apiPrefix: "", kinds: [virtual-account], apiKeyToken: x, http: {enable_http2: false, tls_config: {ca_file: /ca}}}]`, `
targets:
- name: a
  url: https://a
  api_prefix: ""
  kinds: [virtual-account]
  api_key_token: x
  authorization: {credentials_file: ../keys/a}
  enable_http2: false
  tls_config: {ca_file: /ca}`},
		{"a key file", `keySecret: null, keyFile: /vault/a}]`, `
targets:
- {name: a, url: "https://a", authorization: {credentials_file: /vault/a}}`},
		{"a client secret in a file", `keySecret: null, keyFile: /vault/a, http: {oauth2: {client_id: i, token_url: "https://o"}}}]`, `
targets:
- {name: a, url: "https://a", oauth2: {client_id: i, token_url: "https://o", client_secret_file: /vault/a}}`},
		{"secret headers", `http: {http_headers: {CF-Access-Client-Secret: {files: [/etc/cf/secret]}}}}]`, `
targets:
- {name: a, url: "https://a", authorization: {credentials_file: ../keys/a}, http_headers: {CF-Access-Client-Secret: {files: [/etc/cf/secret]}}}`},
		{"a client secret", `http: {oauth2: {client_id: i, token_url: "https://o"}}}]`, `
targets:
- {name: a, url: "https://a", oauth2: {client_id: i, token_url: "https://o", client_secret_file: ../keys/a}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got, want any
			if err := yaml.Unmarshal([]byte(config(t, mustRender(t, target+test.values), fullName)), &got); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// Pods are only replaced if the targets change.
func TestChecksum(t *testing.T) {
	t.Parallel()
	checksum := func(values string) string {
		sum := deployment(t, mustRender(t, values)).Spec.Template.Annotations["checksum/config"]
		if sum == "" {
			t.Error("there is no checksum")
		}
		return sum
	}
	before := checksum(target + `}]`)
	for values, changes := range map[string]bool{
		target + `kinds: [virtual-account]}]`:                                                                       true,
		target + `}, {name: b, url: "https://a", keySecret: {name: s, key: k}}]`:                                    true,
		"serviceMonitor: {enabled: true}\nprometheusRule: {enabled: true}\nreplicas: 2\n" + target + `}]`:           false,
		`targets: [{keySecret: {key: k, name: s}, url: "https://a", name: a}]` + "\nservice: {annotations: {a: b}}": false,
	} {
		if got := checksum(values) != before; got != changes {
			t.Errorf("the checksum changes with %s: %v, want %v", values, got, changes)
		}
	}
}

// The probes and the script of helm test run against a real exporter.
func TestHelmTest(t *testing.T) {
	t.Parallel()
	controlPlane := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tfy_made-up" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"statusCode": 401, "message": "Unauthorized"}`)
			return
		}
		io.WriteString(w, `{"data": [], "pagination": {"total": 0, "offset": 0, "limit": 1000}}`)
	}))
	t.Cleanup(controlPlane.Close)
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/scrapes/api/v1/query" && r.FormValue("query") == `truefoundry_up{namespace="mon",job="`+fullName+`"}` {
			io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"j"},"value":[1,"1"]}]}}`)
			return
		}
		io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}))
	t.Cleanup(prometheus.Close)

	values := `
targets: [{name: a, url: "` + controlPlane.URL + `", keySecret: {name: s, key: k}}]
serviceMonitor: {enabled: true}
`
	all := mustRender(t, values)
	spec := deployment(t, all).Spec.Template.Spec
	dir := t.TempDir()
	exporter, _ := start(t, []string{}, "--config.file="+writeMounts(t, dir, spec, config(t, all, fullName)))

	for _, probe := range []*core.Probe{spec.Containers[0].LivenessProbe, spec.Containers[0].ReadinessProbe} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, exporter+probe.HTTPGet.Path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", probe.HTTPGet.Path, response.Status)
		}
	}

	for _, test := range []struct {
		name, key, values string
		exporter          string
		succeeds          bool
		want              []string
	}{
		{"a good key", "tfy_made-up", ``, exporter, true, []string{`,target="a"} 1`, "scrapes so far: 0\n"}},
		{"a bad key", "tfy_wrong", ``, exporter, false, []string{`,target="a"} 0`, `reason="unauthorized"`}},
		{"no exporter", "tfy_made-up", ``, "http://127.0.0.1:1", false, []string{"does not respond"}},
		{"scraped", "tfy_made-up", `test: {prometheusUrl: "` + prometheus.URL + `/scrapes/"}`, exporter, true, []string{"scraped?\nYes."}},
		{"not scraped", "tfy_made-up", `test: {prometheusUrl: "` + prometheus.URL + `/"}`, exporter, false, []string{`} 1`, "Not yet"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, test.key, dir, "keys/a")
			container := get[*core.Pod](t, mustRender(t, values, test.values), "Pod/"+fullName+"-test-answers").Spec.Containers[0]
			if container.Command[0] != "sh" || container.Env[0].Value != "http://"+fullName+":10140/metrics" {
				t.Fatalf("got %q, with %v", container.Command, container.Env)
			}
			container.Env[0].Value = test.exporter + "/metrics"
			args := []string{"-i"}
			for _, env := range container.Env {
				args = append(args, env.Name+"="+env.Value)
			}
			args = append(args, "busybox")
			args = append(args, append(container.Command, container.Args...)...)
			out, errOut, err := run(t, "env", args...)
			if (err == nil) != test.succeeds {
				t.Errorf("got %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("the output does not contain %q:\n%s%s", want, out, errOut)
				}
			}
		})
	}
}

var (
	notesLine     = regexp.MustCompile(`(?m)^\{notes: .*$`)
	notesDocument = regexp.MustCompile(`(?m)^---\n# Source: .*\n\{notes: .*\n`)
)

// chartWithNotes returns a copy of the chart that renders its notes as an object, because
// helm template does not print them.
func chartWithNotes(t *testing.T) (dir string) {
	t.Helper()
	dir = copyChart(t)
	write(t, read(t, dir, "templates/NOTES.txt"), dir, "files/NOTES.txt")
	write(t, `{notes: {{ tpl (.Files.Get "files/NOTES.txt") . | toJson }}}`, dir, "templates/notes.yaml")
	return dir
}

func TestNotes(t *testing.T) {
	t.Parallel()
	dir := chartWithNotes(t)
	const get, forward = "kubectl get --raw /api/v1/namespaces/mon/services/http", "port-forward"
	for _, test := range []struct {
		values    string
		has, none []string
	}{
		{
			``,
			[]string{get + ":" + fullName + ":10140/proxy/metrics", "acme.truefoundry.cloud: the key api-key of the Secret truefoundry-key", `truefoundry_up{target="acme.truefoundry.cloud"}`, "serviceMonitor.enabled is false", "prometheusRule.enabled is false", "one per Prometheus", "with test.prometheusUrl"},
			[]string{forward},
		},
		{
			strings.Replace(everything, "serviceMonitor: {", "serviceMonitor: {endpoint: {tlsConfig: {insecureSkipVerify: true}}, ", 1) + `webConfig: {secretName: web, tls: true}`,
			[]string{get + "s:" + fullName, `truefoundry_up{namespace="mon",job="` + fullName + `"}`, "app.kubernetes.io/name: truefoundry-exporter", "serviceMonitorSelector", "with test.prometheusUrl", "in one release per Prometheus only"},
			[]string{"enabled is false", forward},
		},
		{`webConfig: {secretName: web, auth: true}`, []string{forward, "http://localhost:10140/metrics", "no credentials"}, []string{"get --raw"}},
		{`networkPolicy: {enabled: true, from: [{podSelector: {}}]}`, []string{forward, "truefoundry_up in http://localhost:10140/metrics."}, []string{"get --raw", "credentials"}},
		{`networkPolicy: {enabled: true}`, []string{get}, []string{forward}},
		{`test: {image: ""}`, []string{"With test.image"}, nil},
		{`podMonitor: {enabled: true, namespace: monitoring}`, []string{"does not select the PodMonitor", "podMonitorSelector", "Set podMonitor.labels", `job="monitoring/` + fullName + `"`}, nil},
		{`targets: [{name: a, url: "https://a", keyFile: /vault/a}]`, []string{"a: the file /vault/a", "does not check the configuration and the key files"}, nil},
		{"service: {port: 9100}\nwebConfig: {secretName: web, auth: true}", []string{"port-forward service/" + fullName + " 10140:9100"}, nil},
		{"full-values.yaml", []string{"release: prometheus", "initech: the file /vault/secrets/initech", "and Prometheus whether"}, []string{"enabled is false"}},
	} {
		out, err := renderDir(t, dir, test.values)
		if err != nil {
			t.Fatal(err)
		}
		var notes struct{ Notes string }
		if err := yaml.Unmarshal([]byte(notesLine.FindString(out)), &notes); err != nil {
			t.Fatal(err)
		}
		for _, want := range test.has {
			if !strings.Contains(notes.Notes, want) {
				t.Errorf("the notes do not contain %q:\n%s", want, notes.Notes)
			}
		}
		for _, unwanted := range test.none {
			if strings.Contains(notes.Notes, unwanted) {
				t.Errorf("the notes contain %q:\n%s", unwanted, notes.Notes)
			}
		}
	}
}

// copyChart returns a copy of the chart that a test may modify.
func copyChart(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := filepath.WalkDir(chartDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(chartDir, path)
		if err == nil {
			write(t, read(t, path), dir, relative)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// listenLog is the log of the exporter. It sends the exporter's address.
type listenLog struct {
	address chan string

	mu    sync.Mutex
	log   strings.Builder
	found bool
}

var listeningLine = regexp.MustCompile(`msg="Listening on".* address=(127\.0\.0\.1:\d+)\n`)

// Write implements io.Writer.
func (l *listenLog) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.Write(text)
	if match := listeningLine.FindStringSubmatch(l.log.String()); match != nil && !l.found {
		l.found = true
		l.address <- match[1]
	}
	return len(text), nil
}
