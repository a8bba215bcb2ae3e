package chart

import (
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	budget "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

func TestImages(t *testing.T) {
	t.Parallel()
	const digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for _, test := range []struct{ name, values, image, testImage string }{
		{"a mirror", `image: {registry: harbor.example, tag: "1"}`, "harbor.example/truefoundry-community/truefoundry_exporter:1", "busybox:1.37"},
		{"a path in a mirror", `image: {registry: harbor.example:8443/ghcr/, tag: "1"}`, "harbor.example:8443/ghcr/truefoundry-community/truefoundry_exporter:1", "busybox:1.37"},
		{"a mirror of all charts", "global: {imageRegistry: all.example}\nimage: {registry: harbor.example, tag: \"1\"}", "all.example/truefoundry-community/truefoundry_exporter:1", "all.example/busybox:1.37"},
		{"a repository without a host", `image: {registry: harbor.example, repository: mirror/a, tag: "1"}`, "harbor.example/mirror/a:1", "busybox:1.37"},
		{"a host without dots", `image: {registry: harbor.example, repository: localhost/a, tag: "1"}`, "harbor.example/a:1", "busybox:1.37"},
		{"a host with a port", `image: {registry: harbor.example, repository: "registry:5000/a", tag: "1"}`, "harbor.example/a:1", "busybox:1.37"},
		{"a digest", `image: {repository: a.example/b, tag: "1", digest: "` + digest + `"}`, "a.example/b:1@" + digest, "busybox:1.37"},
		{"a digest in the tag", `image: {repository: a.example/b, tag: "1@` + digest + `"}`, "a.example/b:1@" + digest, "busybox:1.37"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			all := mustRender(t, test.values)
			for id, want := range map[string]string{"Deployment": test.image, "Pod/" + fullName + "-test-config": test.image, "Pod/" + fullName + "-test-answers": test.testImage} {
				if got := pods(t, all, fullName)[id].Spec.Containers[0].Image; got != want {
					t.Errorf("the image of %s is %s, want %s", id, got, want)
				}
			}
		})
	}
}

func TestPullSecrets(t *testing.T) {
	t.Parallel()
	all := mustRender(t, "global: {imagePullSecrets: [a, {name: b}]}\nimagePullSecrets: [{name: c}, {name: a}]")
	for id, pod := range pods(t, all, fullName) {
		var names []string
		for _, secret := range pod.Spec.ImagePullSecrets {
			names = append(names, secret.Name)
		}
		if got := strings.Join(names, " "); got != "a b c" {
			t.Errorf("%s has the pull secrets %s", id, got)
		}
	}
}

// exporterContainer returns the exporter's container.
func exporterContainer(t *testing.T, values ...string) core.Container {
	t.Helper()
	return deployment(t, mustRender(t, values...)).Spec.Template.Spec.Containers[0]
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, values, want string }{
		{"by default", ``, `[{"name":"GOMEMLIMIT","valueFrom":{"resourceFieldRef":{"containerName":"exporter","divisor":"1","resource":"limits.memory"}}}]`},
		{"a custom memory limit", `extraEnv: [{name: GOMEMLIMIT, value: 200MiB}]`, `[{"name":"GOMEMLIMIT","value":"200MiB"}]`},
		{
			"more variables", `extraEnv: [{name: NO_PROXY, value: .svc}]`,
			`[{"name":"GOMEMLIMIT","valueFrom":{"resourceFieldRef":{"containerName":"exporter","divisor":"1","resource":"limits.memory"}}},{"name":"NO_PROXY","value":".svc"}]`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			container := exporterContainer(t, test.values)
			text, err := yaml.Marshal(container.Env)
			if err != nil {
				t.Fatal(err)
			}
			got, err := yaml.YAMLToJSON(text)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != test.want || len(container.EnvFrom) > 0 {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if from := exporterContainer(t, `extraEnvFrom: [{secretRef: {name: proxy}}]`).EnvFrom; len(from) != 1 || from[0].SecretRef.Name != "proxy" {
		t.Errorf("got %v", from)
	}
}

func TestProbeSettings(t *testing.T) {
	t.Parallel()
	container := exporterContainer(t, `
livenessProbe: {periodSeconds: 30}
readinessProbe: {exec: {command: [a]}}
`)
	if probe := container.LivenessProbe; probe.PeriodSeconds != 30 || probe.HTTPGet == nil || probe.HTTPGet.Path != "/-/healthy" {
		t.Errorf("got %v", probe)
	}
	if probe := container.ReadinessProbe; probe.Exec == nil || probe.HTTPGet != nil {
		t.Errorf("the custom probe is %v", probe)
	}
}

func TestDeploymentSettings(t *testing.T) {
	t.Parallel()
	full := deploymentNamed(t, mustRender(t, "full-values.yaml"), "tfy-exporter")
	if full.Annotations["reloader.example.com/auto"] != "true" || full.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType || *full.Spec.RevisionHistoryLimit != 2 {
		t.Errorf("got %+v", full)
	}
	pod := full.Spec.Template.Spec
	if len(pod.TopologySpreadConstraints) != 1 || pod.HostAliases[0].IP != "192.0.2.1" || pod.DNSPolicy != core.DNSDefault || pod.DNSConfig.Options[0].Name != "ndots" {
		t.Errorf("got %+v", pod)
	}
	if len(pod.InitContainers) != 1 || len(pod.Containers) != 2 || pod.Containers[0].Name != "exporter" {
		t.Errorf("got the containers %v", pod.Containers)
	}
	// The values are merged with the defaults, which keep the pod restricted.
	if c := pod.SecurityContext; *c.RunAsUser != 10001 || *c.FSGroup != 10001 || !*c.RunAsNonRoot {
		t.Errorf("got the security context %v", c)
	}
	if replicas := deployment(t, mustRender(t, `replicas: null`)).Spec.Replicas; replicas != nil {
		t.Errorf("an autoscaler is overridden with %d replicas", *replicas)
	}
	if replicas := deployment(t, mustRender(t, `replicas: 0`)).Spec.Replicas; replicas == nil || *replicas != 0 {
		t.Errorf("got %v replicas, want 0", replicas)
	}
	if disruptions := get[*budget.PodDisruptionBudget](t, mustRender(t, "full-values.yaml"), "PodDisruptionBudget/tfy-exporter"); disruptions.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("got %v", disruptions.Spec)
	}
}

func TestCommonLabels(t *testing.T) {
	t.Parallel()
	all := mustRender(t, everything, `
commonLabels: {cost-center: "1234", app.kubernetes.io/part-of: monitoring, tier: a}
podLabels: {tier: b}
`)
	for id, pod := range pods(t, all, fullName) {
		if pod.Labels["cost-center"] != "1234" || pod.Labels["app.kubernetes.io/part-of"] != "monitoring" {
			t.Errorf("%s has the labels %v", id, pod.Labels)
		}
	}
	if got := pods(t, all, fullName)["Deployment"].Labels["tier"]; got != "b" {
		t.Errorf("podLabels do not override commonLabels: %s", got)
	}
	for id, object := range all {
		if labels := labelsOf(object); labels["cost-center"] != "1234" {
			t.Errorf("%s has the labels %v", id, labels)
		}
	}
	checkSelectors(t, all, fullName)
}

func TestService(t *testing.T) {
	t.Parallel()
	all := mustRender(t, `service: {type: NodePort, port: 9100, labels: {team: a}, ipFamilyPolicy: PreferDualStack}`)
	service := get[*core.Service](t, all, "Service/"+fullName)
	if service.Spec.Type != core.ServiceTypeNodePort || service.Spec.Ports[0].Port != 9100 || service.Labels["team"] != "a" || *service.Spec.IPFamilyPolicy != core.IPFamilyPolicyPreferDualStack {
		t.Errorf("got %+v", service)
	}
	if url := get[*core.Pod](t, all, "Pod/"+fullName+"-test-answers").Spec.Containers[0].Env[0].Value; url != "http://"+fullName+":9100/metrics" {
		t.Errorf("the test requests %s", url)
	}
	if port := get[*core.Service](t, mustRender(t, `service: null`), "Service/"+fullName).Spec.Ports[0].Port; port != 10140 {
		t.Errorf("the default port is %d", port)
	}
}

func TestMonitors(t *testing.T) {
	t.Parallel()
	const values = `
  enabled: true
  namespace: monitoring
  labels: {release: prometheus}
  annotations: {owner: us}
  interval: 1m
  scrapeTimeout: 50s
  jobLabel: app
  sampleLimit: 1000000
  endpoint: {tlsConfig: {insecureSkipVerify: true}, honorLabels: false}
webConfig: {secretName: web, tls: true}
`
	for _, test := range []struct{ name, values, labels string }{
		{"ServiceMonitor", "serviceMonitor:\n  targetLabels: [team]" + values, "targetLabels"},
		{"PodMonitor", "podMonitor:\n  podTargetLabels: [team]" + values, "podTargetLabels"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if mustRender(t, test.values)[test.name+"/"+fullName] == nil {
				t.Fatal("the monitor is missing")
			}
			_, text, _ := strings.Cut(mustRenderText(t, test.values), "kind: "+test.name+"\n")
			text, _, _ = strings.Cut(text, "\n---\n")
			for _, want := range []string{
				"interval: 1m\n", "scrapeTimeout: 50s\n", "scheme: https\n", "honorLabels: false\n", "port: http\n", "insecureSkipVerify: true\n",
				"jobLabel: app\n", "sampleLimit: 1000000\n", test.labels + ":\n    - team\n", "matchNames:\n      - mon\n",
				"release: prometheus\n", "owner: us\n", "namespace: monitoring\n",
			} {
				if !strings.Contains(text+"\n", want) {
					t.Errorf("there is no %q in\n%s", want, text)
				}
			}
		})
	}
	endpoint := get[*monitoring.ServiceMonitor](t, mustRender(t, everything), "ServiceMonitor/"+fullName).Spec.Endpoints[0]
	if endpoint.Interval != "2m" || endpoint.ScrapeTimeout != "60s" || endpoint.Port != "http" || *endpoint.Scheme != "http" || !endpoint.HonorLabels {
		t.Errorf("got %+v", endpoint)
	}
	// Users also write the limit into the endpoint, which has no such field.
	monitor := get[*monitoring.ServiceMonitor](t, mustRender(t, `serviceMonitor: {enabled: true, endpoint: {sampleLimit: 50000}}`), "ServiceMonitor/"+fullName)
	if limit := monitor.Spec.SampleLimit; limit == nil || *limit != 50000 {
		t.Errorf("the limit is %v", limit)
	}
	if text := mustRenderText(t, `serviceMonitor: {enabled: true, apiVersion: azmonitoring.coreos.com/v1}`); !strings.Contains(text, "apiVersion: azmonitoring.coreos.com/v1\nkind: ServiceMonitor\n") {
		t.Error("the ServiceMonitor has another apiVersion")
	}
}
