package chart

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	budget "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

const everything = `
serviceMonitor: {enabled: true}
prometheusRule: {enabled: true}
dashboard: {enabled: true}
networkPolicy: {enabled: true}
`

func TestLint(t *testing.T) {
	t.Parallel()
	for _, values := range []string{"minimal-values.yaml", "full-values.yaml"} {
		out, errOut, err := run(t, helmPath, "lint", "--strict", chartDir, "--values", filepath.Join(chartDir, "ci", values))
		if err != nil || strings.Contains(out, "[WARNING]") {
			t.Errorf("%s: %v\n%s%s", values, err, out, errOut)
		}
	}
}

// Strict decoding also rejects fields that Kubernetes and the operator do not know.
func TestObjects(t *testing.T) {
	t.Parallel()
	minimal := []string{"ConfigMap/NAME", "Deployment/NAME", "Pod/NAME-test-answers", "Pod/NAME-test-config", "Service/NAME", "ServiceAccount/NAME"}
	with := func(more ...string) []string { return slices.Sorted(slices.Values(slices.Concat(minimal, more))) }
	more := with("ConfigMap/NAME-dashboard", "NetworkPolicy/NAME", "PrometheusRule/NAME", "ServiceMonitor/NAME")
	full := slices.Concat(more, []string{"ConfigMap/rel-other", "ConfigMap/rel-vault-agent", "PodDisruptionBudget/NAME"})
	for _, test := range []struct {
		name, values, fullName string
		want                   []string
	}{
		{"minimal", "minimal-values.yaml", fullName, minimal},
		{"everything by default", everything, fullName, more},
		{"full", "full-values.yaml", "tfy-exporter", slices.Sorted(slices.Values(full))},
		{"a PodMonitor", `podMonitor: {enabled: true}`, fullName, with("PodMonitor/NAME")},
		{"an injected key file", `targets: [{name: a, url: "https://a", keyFile: /vault/a}]`, fullName, slices.DeleteFunc(slices.Clone(minimal), func(id string) bool {
			return strings.HasSuffix(id, "-config")
		})},
		{"no service account", `serviceAccount: {create: false}`, fullName, slices.DeleteFunc(slices.Clone(minimal), func(id string) bool {
			return strings.HasPrefix(id, "ServiceAccount")
		})},
		{"no test image", `test: {image: ""}`, fullName, slices.DeleteFunc(slices.Clone(minimal), func(id string) bool {
			return strings.HasSuffix(id, "-answers")
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := mustRender(t, test.values)
			var want []string
			for _, id := range test.want {
				id = strings.Replace(id, "NAME", test.fullName, 1)
				want = append(want, strings.Replace(id, "ServiceAccount/tfy-exporter", "ServiceAccount/truefoundry", 1))
			}
			slices.Sort(want)
			if ids := slices.Sorted(maps.Keys(got)); !slices.Equal(ids, want) {
				t.Errorf("got %q, want %q", ids, want)
			}
			for id, object := range got {
				if account, ok := object.(*core.ServiceAccount); ok && (account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken) {
					t.Error("the service account's token is mounted")
				}
				if strings.HasPrefix(id, "ConfigMap/rel-") && test.name == "full" { // extraManifests
					continue
				}
				got := labelsOf(object)
				for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"} {
					if got[label] == "" {
						t.Errorf("%s has no label %s", id, label)
					}
				}
			}
			for id, pod := range pods(t, got, test.fullName) {
				checkPod(t, id, pod)
			}
			checkSelectors(t, got, test.fullName)
		})
	}
}

// pods returns all pods by ID, including the pod template of the Deployment.
func pods(t *testing.T, from objects, name string) map[string]core.PodTemplateSpec {
	t.Helper()
	all := map[string]core.PodTemplateSpec{}
	for id, object := range from {
		if pod, ok := object.(*core.Pod); ok {
			all[id] = core.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
		}
	}
	all["Deployment"] = deploymentNamed(t, from, name).Spec.Template
	return all
}

// checkPod checks that a pod meets the restricted Pod Security Standard, and more.
func checkPod(t *testing.T, id string, pod core.PodTemplateSpec) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	if result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)); !result.Allowed {
		t.Errorf("%s is not restricted: %s", id, result.ForbiddenDetail())
	}
	if mount := pod.Spec.AutomountServiceAccountToken; mount == nil || *mount {
		t.Errorf("%s mounts the service account's token", id)
	}
	volumes := map[string]bool{}
	for _, volume := range pod.Spec.Volumes {
		volumes[volume.Name] = true
	}
	if strings.Contains(id, "-test-") && pod.Spec.ServiceAccountName != "" {
		t.Errorf("%s has the service account %s", id, pod.Spec.ServiceAccountName)
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if readOnly := container.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
			t.Errorf("%s can write to its root filesystem", id)
		}
		if len(container.Resources.Limits) == 0 || len(container.Resources.Requests) == 0 {
			t.Errorf("%s has no resources", id)
		}
		for _, mount := range container.VolumeMounts {
			if mount.SubPath != "" || mount.SubPathExpr != "" || !mount.ReadOnly || !volumes[mount.Name] {
				t.Errorf("%s mounts %s with a subPath, for writing, or without the volume", id, mount.Name)
			}
		}
	}
}

// checkSelectors checks that all selectors select the exporter's pods or its Service, and no
// other pods.
func checkSelectors(t *testing.T, from objects, name string) {
	t.Helper()
	service := get[*core.Service](t, from, "Service/"+name)
	selectors := map[string]map[string]string{
		"Service":    service.Spec.Selector,
		"Deployment": deploymentNamed(t, from, name).Spec.Selector.MatchLabels,
	}
	if network, ok := from["NetworkPolicy/"+name].(*networking.NetworkPolicy); ok {
		selectors["NetworkPolicy"] = network.Spec.PodSelector.MatchLabels
	}
	port, target := service.Spec.Ports[0], deploymentNamed(t, from, name).Spec.Template.Spec.Containers[0].Ports[0]
	if port.TargetPort.String() != target.Name || target.ContainerPort != 10140 || port.Protocol != core.ProtocolTCP || target.Protocol != core.ProtocolTCP {
		t.Errorf("the Service's port is %v, the container's %v", port, target)
	}
	if monitor, ok := from["PodMonitor/"+name].(*monitoring.PodMonitor); ok {
		selectors["PodMonitor"] = monitor.Spec.Selector.MatchLabels
	}
	if disruptions, ok := from["PodDisruptionBudget/"+name].(*budget.PodDisruptionBudget); ok {
		selectors["PodDisruptionBudget"] = disruptions.Spec.Selector.MatchLabels
	}
	if monitor, ok := from["ServiceMonitor/"+name].(*monitoring.ServiceMonitor); ok {
		if !labels.SelectorFromSet(monitor.Spec.Selector.MatchLabels).Matches(labels.Set(service.Labels)) {
			t.Error("the ServiceMonitor does not select the Service")
		}
	}
	for kind, selector := range selectors {
		for id, pod := range pods(t, from, name) {
			if got, want := labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)), id == "Deployment"; got != want {
				t.Errorf("the selector of the %s matches the %s: %v, want %v", kind, id, got, want)
			}
		}
	}
}

// If one of the full values is removed, the result is different.
func TestEveryValueHasAnEffect(t *testing.T) {
	t.Parallel()
	full := func() (values map[string]any) {
		if err := yaml.UnmarshalStrict([]byte(read(t, chartDir, "ci/full-values.yaml")), &values); err != nil {
			t.Fatal(err)
		}
		return values
	}
	// The pods of helm test are left out: they share values with the Deployment, and would
	// hide that it does not use one.
	render := func(t *testing.T, values map[string]any, part string) string {
		t.Helper()
		text, err := yaml.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		out, err := renderDir(t, chartDir, string(text))
		if err != nil {
			return err.Error()
		}
		documents := strings.Split(out, "\n---\n")
		return strings.Join(slices.DeleteFunc(documents, func(document string) bool {
			return part != "test" && strings.Contains(document, "kind: Pod\n")
		}), "\n---\n")
	}
	before := map[string]string{"": render(t, full(), ""), "test": render(t, full(), "test")}
	try := func(name, part string, values map[string]any) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := before[""]
			if part == "test" {
				want = before["test"]
			}
			if render(t, values, part) == want {
				t.Error("the value has no effect")
			}
		})
	}
	for name, value := range full() {
		// One is for parent charts, and the other is required.
		if slices.Contains([]string{"enabled", "targets"}, name) {
			continue
		}
		fields, ok := value.(map[string]any)
		if !ok || !isGroup(name) {
			values := full()
			delete(values, name)
			try(name, name, values)
			continue
		}
		for field := range fields {
			// These are defaults or follow from other values.
			if id := name + "." + field; !slices.Contains([]string{"webConfig.auth", "serviceAccount.create", "serviceMonitor.apiVersion", "serviceMonitor.scheme"}, id) {
				values := full()
				delete(values[name].(map[string]any), field)
				try(id, name, values)
			}
		}
	}
}

// isGroup reports whether a value is a group of values, and not a map with the user's keys.
func isGroup(name string) bool {
	return slices.Contains([]string{
		"dashboard", "global", "image", "networkPolicy", "podMonitor", "prometheusRule", "service", "serviceAccount", "serviceMonitor", "test", "webConfig",
	}, name)
}

func TestHooks(t *testing.T) {
	t.Parallel()
	all := mustRender(t, everything)
	var weights []string
	for _, name := range []string{"config", "answers"} {
		pod := get[*core.Pod](t, all, "Pod/"+fullName+"-test-"+name)
		if pod.Annotations["helm.sh/hook"] != "test" || pod.Spec.RestartPolicy != core.RestartPolicyNever {
			t.Errorf("%s is not a test: %v", name, pod.Annotations)
		}
		weights = append(weights, pod.Annotations["helm.sh/hook-weight"])
	}
	if !slices.Equal(weights, []string{"", "1"}) {
		t.Errorf("the weights are %q, but the configuration should be checked first", weights)
	}
	args := get[*core.Pod](t, all, "Pod/"+fullName+"-test-config").Spec.Containers[0].Args
	if want := deployment(t, all).Spec.Template.Spec.Containers[0].Args[0]; !slices.Equal(args, []string{want, "--config.check"}) {
		t.Errorf("got %q", args)
	}
	full := mustRender(t, "full-values.yaml")
	args = get[*core.Pod](t, full, "Pod/tfy-exporter-test-config").Spec.Containers[0].Args
	for _, want := range []string{"--log.format=json", "--truefoundry.timeout=30s"} {
		if !slices.Contains(args, want) {
			t.Errorf("%q has no %s", args, want)
		}
	}
	for values, want := range map[string]*int64{``: new(int64(65534)), `test: {runAsUser: 7}`: new(int64(7)), `test: {runAsUser: null}`: nil} {
		got := get[*core.Pod](t, mustRender(t, values), "Pod/"+fullName+"-test-answers").Spec.SecurityContext.RunAsUser
		if !reflect.DeepEqual(got, want) {
			t.Errorf("with %q it runs as %v", values, got)
		}
	}
	// The test pod has no credentials.
	if _, ok := mustRender(t, everything, "webConfig: {secretName: web, auth: true}\nserviceMonitor: {endpoint: {basicAuth: {}}}", `serviceMonitor: {enabled: false}`)["Pod/"+fullName+"-test-answers"]; ok {
		t.Error("there is a test pod, which has no credentials")
	}
}

// A null removes a value, as in overlays. If the value is required, there is a clear error.
func TestNull(t *testing.T) {
	t.Parallel()
	var values map[string]any
	if err := yaml.UnmarshalStrict([]byte(read(t, chartDir, "values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	required := map[string]string{
		"image: null":               "image.repository is not set",
		"image: {repository: null}": "image.repository is not set",
		"targets: null":             "targets is empty",
	}
	var nulls []string
	for name, value := range values {
		nulls = append(nulls, name+": null")
		fields, _ := value.(map[string]any)
		for field := range fields {
			nulls = append(nulls, name+": {"+field+": null}")
		}
	}
	for _, field := range []string{"apiPrefix", "kinds", "apiKeyToken", "keyFile", "http"} {
		nulls = append(nulls, target+field+": null}]")
	}
	for _, field := range []string{"proxy_url", "no_proxy", "oauth2", "http_headers", "tls_config", "enable_http2"} {
		nulls = append(nulls, target+"http: {"+field+": null}}]")
	}
	nulls = append(nulls, "replicaCount: null")
	dir := chartWithNotes(t)
	for _, null := range nulls {
		t.Run(strings.TrimPrefix(null, target), func(t *testing.T) {
			t.Parallel()
			out, err := renderDir(t, dir, everything, null)
			switch want := required[null]; {
			case want == "" && err == nil:
				for id, object := range decode(t, notesDocument.ReplaceAllString(out, "")) {
					if id == "ConfigMap/"+fullName && strings.Contains(object.(*core.ConfigMap).Data["targets.yml"], "null") {
						t.Error("the exporter's configuration has a null")
					}
				}
			case want == "" || err == nil || !strings.Contains(err.Error(), want):
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// A packaged chart renders the same as the directory: helm follows symbolic links.
func TestPackage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, errOut, err := run(t, helmPath, "package", chartDir, "--destination", dir); err != nil {
		t.Fatalf("%v\n%s%s", err, out, errOut)
	}
	version := strings.TrimSpace(read(t, "../../../../VERSION"))
	var chart struct{ Name, Version, AppVersion string }
	if err := yaml.Unmarshal([]byte(read(t, chartDir, "Chart.yaml")), &chart); err != nil {
		t.Fatal(err)
	}
	if chart.AppVersion != version {
		t.Errorf("appVersion is %s, VERSION %s", chart.AppVersion, version)
	}
	packaged, err := renderDir(t, filepath.Join(dir, chart.Name+"-"+chart.Version+".tgz"), "full-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	direct, err := renderDir(t, chartDir, "full-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if packaged != direct {
		t.Error("the packaged chart renders differently")
	}
	if got, want := deployment(t, mustRender(t)).Spec.Template.Spec.Containers[0].Image, "ghcr.io/truefoundry-community/truefoundry_exporter:"+version; got != want {
		t.Errorf("the image is %s, want %s", got, want)
	}
}

// Some tools replace symbolic links with files that contain the path.
func TestBrokenSymbolicLinks(t *testing.T) {
	t.Parallel()
	dir := copyChart(t)
	write(t, "../../../prometheus/rules.yml", dir, "files/rules.yml")
	write(t, "../../../grafana/dashboard.json", dir, "files/dashboard.json")
	if _, err := renderDir(t, dir, `prometheusRule: {alerts: {`+firstAlert(t)+`: {enabled: false}}}`); err != nil {
		t.Errorf("unused files are required: %v", err)
	}
	_, err := renderDir(t, dir, everything)
	if err == nil || !strings.Contains(err.Error(), "files/rules.yml has no rules") || !strings.Contains(err.Error(), "files/dashboard.json is no dashboard") {
		t.Errorf("got %v", err)
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, values, want string }{
		{"plain", ``, "HTTP"},
		{"a web configuration without TLS and authentication", `webConfig: {secretName: web}`, "HTTP"},
		{"TLS", `webConfig: {secretName: web, tls: true}`, "HTTPS"},
		{"authentication", `webConfig: {secretName: web, auth: true}`, "TCP"},
		{"both", `webConfig: {secretName: web, tls: true, auth: true}`, "TCP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spec := deployment(t, mustRender(t, test.values)).Spec.Template.Spec
			container := spec.Containers[0]
			for path, probe := range map[string]*core.Probe{"/-/healthy": container.LivenessProbe, "/-/ready": container.ReadinessProbe} {
				got := "TCP"
				if probe.HTTPGet != nil {
					got = string(probe.HTTPGet.Scheme)
				}
				if got != test.want || probe.HTTPGet != nil && probe.HTTPGet.Path != path || (probe.TCPSocket != nil) != (got == "TCP") {
					t.Errorf("%s: got %v, want %s", path, probe, test.want)
				}
			}
			index := slices.IndexFunc(spec.Volumes, func(v core.Volume) bool { return v.Name == "web" })
			if test.values == "" {
				if index >= 0 || slices.ContainsFunc(container.Args, func(arg string) bool { return strings.HasPrefix(arg, "--web") }) {
					t.Error("there is a web configuration")
				}
			} else if spec.Volumes[index].Secret.SecretName != "web" || !slices.Contains(container.Args, "--web.config.file=/etc/truefoundry-exporter/web/web-config.yml") {
				t.Errorf("the web configuration is not used: %q", container.Args)
			}
		})
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	const id = "ConfigMap/" + fullName + "-dashboard"
	plain := get[*core.ConfigMap](t, mustRender(t, everything), id)
	if got, want := strings.TrimSpace(plain.Data["truefoundry-exporter.json"]), strings.TrimSpace(read(t, "../../../../deploy/grafana/dashboard.json")); got != want {
		t.Error("the dashboard is not the one in deploy/grafana")
	}
	if plain.Labels["grafana_dashboard"] != "1" {
		t.Errorf("got the labels %v", plain.Labels)
	}
	own := get[*core.ConfigMap](t, mustRender(t, everything, `
dashboard:
  labels: {grafana_dashboard: null, truefoundry_monitoring: "1"}
  annotations: {grafana_folder: TrueFoundry}
`), id)
	if _, ok := own.Labels["grafana_dashboard"]; ok || own.Labels["truefoundry_monitoring"] != "1" || own.Annotations["grafana_folder"] != "TrueFoundry" {
		t.Errorf("got the labels %v and the annotations %v", own.Labels, own.Annotations)
	}
}

func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	spec := func(t *testing.T, values string) networking.NetworkPolicySpec {
		t.Helper()
		return get[*networking.NetworkPolicy](t, mustRender(t, `networkPolicy: {enabled: true}`, values), "NetworkPolicy/"+fullName).Spec
	}
	for _, test := range []struct{ values, ports string }{
		{``, "UDP/53 TCP/53 TCP/443"},
		{`targets: [{name: a, url: "http://tfy.svc", keySecret: {name: s, key: k}}]`, "UDP/53 TCP/53 TCP/80"},
		{`targets: [{name: a, url: "http://[fd00::1]:3000/x", keySecret: {name: s, key: k}}]`, "UDP/53 TCP/53 TCP/3000"},
		{`targets: [{name: a, url: "https://[fd00::1]", keySecret: {name: s, key: k}}]`, "UDP/53 TCP/53 TCP/443"},
		{`
targets:
  - {name: a, url: "https://a:1/b:2", keySecret: {name: s, key: k}, http: {proxy_url: "http://p:3128"}}
  - {name: b, url: "https://b", keySecret: {name: s, key: k}, http: {oauth2: {client_id: i, token_url: "https://o:8443/t", proxy_url: "socks5://s"}}}
`, "UDP/53 TCP/53 TCP/1 TCP/3128 TCP/443 TCP/8443 TCP/1080"},
		{`extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example:3128"}, {name: no_proxy, value: .svc}, {name: http_proxy, value: "proxy.example:8080"}]`, "UDP/53 TCP/53 TCP/443 TCP/3128 TCP/8080"},
		{`networkPolicy: {egress: [{ports: [{port: 7, protocol: TCP}]}]}`, "TCP/7"},
	} {
		var got []string
		for _, rule := range spec(t, test.values).Egress {
			for _, port := range rule.Ports {
				got = append(got, string(*port.Protocol)+"/"+port.Port.String())
			}
		}
		if strings.Join(got, " ") != test.ports {
			t.Errorf("%s allows egress to %q, want %q", test.values, got, test.ports)
		}
	}
	if open := spec(t, ``).Ingress; len(open) != 1 || len(open[0].From) != 0 || open[0].Ports[0].Port.String() != "http" || *open[0].Ports[0].Protocol != core.ProtocolTCP {
		t.Errorf("got %v", open)
	}
	closed := spec(t, `networkPolicy: {from: [{namespaceSelector: {}}]}`).Ingress[0].From
	testPod := get[*core.Pod](t, mustRender(t), "Pod/"+fullName+"-test-config")
	if len(closed) != 2 || closed[0].NamespaceSelector == nil || !labels.SelectorFromSet(closed[1].PodSelector.MatchLabels).Matches(labels.Set(testPod.Labels)) {
		t.Errorf("got %v", closed)
	}
}

// The schema and full-values.yaml have the same values as values.yaml.
func TestSchemaHasTheValues(t *testing.T) {
	t.Parallel()
	names := func(path string) []string {
		var values map[string]any
		if err := yaml.UnmarshalStrict([]byte(read(t, path)), &values); err != nil {
			t.Fatal(err)
		}
		var names []string
		for name, value := range values {
			names = append(names, name)
			if fields, ok := value.(map[string]any); ok && isGroup(name) {
				for field := range fields {
					names = append(names, name+"."+field)
				}
			}
		}
		slices.Sort(names)
		return names
	}
	var root struct {
		Properties map[string]struct{ Properties map[string]any }
	}
	if err := yaml.Unmarshal([]byte(read(t, chartDir, "values.schema.json")), &root); err != nil {
		t.Fatal(err)
	}
	// These are for parent charts.
	forParents := func(name string) bool { return name == "enabled" || strings.HasPrefix(name, "global") }
	var inSchema []string
	for name, property := range root.Properties {
		inSchema = append(inSchema, name)
		if isGroup(name) {
			for field := range property.Properties {
				inSchema = append(inSchema, name+"."+field)
			}
		}
	}
	slices.Sort(inSchema)
	inSchema = slices.DeleteFunc(inSchema, forParents)
	inValues := slices.DeleteFunc(names(filepath.Join(chartDir, "values.yaml")), forParents)
	if !slices.Equal(inValues, inSchema) {
		t.Errorf("values.yaml has %q,\nthe schema has %q", inValues, inSchema)
	}
	full := slices.DeleteFunc(names(filepath.Join(chartDir, "ci/full-values.yaml")), forParents)
	inValues = slices.DeleteFunc(inValues, func(name string) bool { return strings.HasPrefix(name, "podMonitor") })
	if !slices.Equal(full, inValues) {
		t.Errorf("full-values.yaml has %q,\nvalues.yaml %q", full, inValues)
	}
	for _, word := range []string{`"not"`, "false", "pattern", "required"} {
		if strings.Contains(read(t, chartDir, "values.schema.json"), word) {
			t.Errorf("the schema has %s, whose error message is not helpful", word)
		}
	}
}
