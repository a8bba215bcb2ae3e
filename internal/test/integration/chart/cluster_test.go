package chart

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// Where the programs are that make up a cluster, and the operator's CRDs.
var (
	kubernetesDir = os.Getenv("CHARTTEST_KUBERNETES_DIR")
	etcdPath      = os.Getenv("CHARTTEST_ETCD")
	crdDir        = os.Getenv("CHARTTEST_CRD_DIR")
)

// How long a cluster may take to do anything.
const clusterPatience = 3 * time.Minute

// cluster is a control plane of Kubernetes without nodes: its pods are admitted, and
// never run.
type cluster struct {
	url        string
	token      string
	kubeconfig string
	client     *http.Client
}

// startCluster starts etcd, the API server, and the controllers that turn Deployments
// into pods and remove what is left of them. They end with the test.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{url: "https://" + freeAddress(t), token: rand.Text()}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(c.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	client, peer := "http://"+freeAddress(t), "http://"+freeAddress(t)
	startProgram(t, etcdPath, "--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--logger=zap",
		"--listen-client-urls="+client, "--advertise-client-urls="+client, "--listen-peer-urls="+peer)
	signingKey := write(t, newKey(t), dir, "signing.key")
	startProgram(t, filepath.Join(kubernetesDir, "kube-apiserver"),
		"--etcd-servers="+client, "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+filepath.Join(dir, "certificates"),
		"--token-auth-file="+write(t, c.token+",admin,admin,system:masters\n", dir, "tokens.csv"), "--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.0.0.0/24", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+signingKey, "--service-account-signing-key-file="+signingKey)

	// The certificate is there before the server answers.
	var certificate []byte
	await(t, "the certificate of the API server", func() error {
		certificate, err = os.ReadFile(filepath.Join(dir, "certificates/apiserver.crt"))
		return err
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	t.Cleanup(c.client.CloseIdleConnections)
	await(t, "the API server", func() error {
		status, body := c.request(t, http.MethodGet, "/readyz", nil)
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	config := map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"contexts": []any{map[string]any{"name": "test", "context": map[string]any{"cluster": "test", "user": "test"}}},
		"users":    []any{map[string]any{"name": "test", "user": map[string]any{"token": c.token}}},
		"clusters": []any{map[string]any{"name": "test", "cluster": map[string]any{"server": c.url, "certificate-authority-data": certificate}}},
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	c.kubeconfig = write(t, string(text), dir, "kubeconfig")
	startProgram(t, filepath.Join(kubernetesDir, "kube-controller-manager"), "--kubeconfig="+c.kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--controllers=deployment-controller,replicaset-controller,serviceaccount-controller,garbage-collector-controller")
	return c
}

// freeAddress returns an address of this machine that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func newKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// startProgram starts a program that has to run as long as the test, whose log is
// shown where the test fails.
func startProgram(t *testing.T, path string, args ...string) {
	t.Helper()
	name := filepath.Base(path)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = endWithParent()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		cancel()
		err := cmd.Wait()
		if t.Failed() {
			lines := strings.Split(log.String(), "\n")
			t.Logf("%s ended: %v\n%s", name, err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
}

// await waits until something is.
func await(t *testing.T, what string, is func() error) {
	t.Helper()
	deadline := time.After(clusterPatience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := is()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("%s: still %v", what, err)
		}
	}
}

// request asks the API server. Status 0 is no answer.
func (c *cluster) request(t *testing.T, method, path string, body []byte) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, c.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

// object is any object, of which the tests read its names.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Template json.RawMessage `json:"template"`
	} `json:"spec"`
}

// collection is the path of the objects of a kind.
func collection(apiVersion, kind, namespace string) string {
	path := "/apis/" + apiVersion
	if apiVersion == "v1" {
		path = "/api/v1"
	}
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	resource := strings.ToLower(kind)
	switch {
	case strings.HasSuffix(resource, "s"):
		resource += "es"
	case strings.HasSuffix(resource, "y"):
		resource = strings.TrimSuffix(resource, "y") + "ies"
	default:
		resource += "s"
	}
	return path + "/" + resource
}

// create creates an object, or finds out whether it could be. The API server refuses
// fields that it does not know.
func (c *cluster) create(t *testing.T, document, namespace string, dryRun bool) (status int, answer string) {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		t.Fatalf("%v:\n%s", err, document)
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	if o.Metadata.Namespace != "" {
		namespace = o.Metadata.Namespace
	}
	path := collection(o.APIVersion, o.Kind, namespace) + "?fieldValidation=Strict"
	if dryRun {
		path += "&dryRun=All"
	}
	return c.request(t, http.MethodPost, path, text)
}

func (c *cluster) mustCreate(t *testing.T, document, namespace string, dryRun bool) {
	t.Helper()
	if status, answer := c.create(t, document, namespace, dryRun); status != http.StatusCreated {
		t.Fatalf("%d %s:\n%s", status, answer, document)
	}
}

// names returns the names of the release's objects of a kind.
func (c *cluster) names(t *testing.T, apiVersion, kind, namespace string) string {
	t.Helper()
	status, answer := c.request(t, http.MethodGet, collection(apiVersion, kind, namespace)+"?labelSelector=app.kubernetes.io/instance%3Drel", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	var list struct{ Items []object }
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Metadata.Name)
	}
	return strings.Join(names, " ")
}

// awaitPods waits until the Deployment has its pods, which the API server has admitted.
func (c *cluster) awaitPods(t *testing.T, deployment string, want int) {
	t.Helper()
	await(t, fmt.Sprintf("%d pods of %s", want, deployment), func() error {
		names := strings.Fields(c.names(t, "v1", "Pod", "mon"))
		for _, name := range names {
			if !strings.HasPrefix(name, deployment+"-") {
				return fmt.Errorf("there are %q", names)
			}
		}
		if len(names) == want {
			return nil
		}
		_, events := c.request(t, http.MethodGet, "/api/v1/namespaces/mon/events?fieldSelector=reason%3DFailedCreate", nil)
		return fmt.Errorf("there are %q; what failed: %s", names, events)
	})
}

func (c *cluster) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, err := run(t, helmPath, append(args, "--kubeconfig="+c.kubeconfig, "--namespace=mon")...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut)
	}
	return out
}

// companiesNamespace is where the values of companies are tried.
const companiesNamespace = "companies"

const restrictedNamespace = `{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: restricted}}}`

// prepare makes what the chart expects to be there.
func (c *cluster) prepare(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crdDir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no CRDs in %s: %v", crdDir, err)
	}
	for _, file := range files {
		// Without a namespace; strictly validated, as all.
		c.mustCreate(t, read(t, file), "", false)
	}
	for _, kind := range []string{"ServiceMonitor", "PodMonitor", "PrometheusRule"} {
		await(t, kind+"s", func() error {
			if status, answer := c.request(t, http.MethodGet, collection("monitoring.coreos.com/v1", kind, ""), nil); status != http.StatusOK {
				return fmt.Errorf("%d %s", status, answer)
			}
			return nil
		})
	}
	for _, name := range []string{"mon", "monitoring", "grafana", companiesNamespace} {
		c.mustCreate(t, fmt.Sprintf(restrictedNamespace, name), "", false)
	}
	await(t, "the default service account", func() error {
		if status, answer := c.request(t, http.MethodGet, "/api/v1/namespaces/mon/serviceaccounts/default", nil); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, answer)
		}
		return nil
	})
	c.mustCreate(t, `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: monitoring}, value: 1}`, "", false)
	c.mustCreate(t, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: platform-exporters}}`, companiesNamespace, false)
}

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a control plane of Kubernetes")
	}
	t.Parallel()
	c := startCluster(t)
	c.prepare(t)

	t.Run("life of a release", func(t *testing.T) {
		minimal, full := filepath.Join(chartDir, "ci/minimal-values.yaml"), filepath.Join(chartDir, "ci/full-values.yaml")
		more := write(t, everything+"podDisruptionBudget: {maxUnavailable: 1}\nreplicas: 3\n", t.TempDir(), "values.yaml")
		monitors := func() string { return c.names(t, "monitoring.coreos.com/v1", "ServiceMonitor", "") }

		c.helm(t, "install", "rel", chartDir, "--values="+minimal)
		c.awaitPods(t, fullName, 1)
		if got := monitors(); got != "" {
			t.Errorf("there are ServiceMonitors: %s", got)
		}
		for document := range strings.SplitSeq(c.helm(t, "get", "hooks", "rel"), "\n---\n") {
			c.mustCreate(t, document, "mon", true)
		}

		c.helm(t, "upgrade", "rel", chartDir, "--values="+minimal, "--values="+more)
		c.awaitPods(t, fullName, 3)
		if got := monitors(); got != fullName {
			t.Errorf("there are the ServiceMonitors %q", got)
		}

		c.helm(t, "rollback", "rel", "1")
		c.awaitPods(t, fullName, 1)
		if got := monitors(); got != "" {
			t.Errorf("a rollback leaves the ServiceMonitors %s", got)
		}

		// With another name, so that everything is replaced.
		c.helm(t, "upgrade", "rel", chartDir, "--values="+full)
		c.awaitPods(t, "tfy-exporter", 2)
		if got := monitors(); got != "tfy-exporter" {
			t.Errorf("there are the ServiceMonitors %q", got)
		}

		c.helm(t, "uninstall", "rel")
		c.awaitPods(t, "none", 0)
		for kind, apiVersion := range map[string]string{
			"ConfigMap": "v1", "Deployment": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1", "PodDisruptionBudget": "policy/v1", "PrometheusRule": "monitoring.coreos.com/v1",
			"Service": "v1", "ServiceAccount": "v1", "ServiceMonitor": "monitoring.coreos.com/v1",
		} {
			if left := c.names(t, apiVersion, kind, ""); left != "" {
				t.Errorf("uninstalling leaves %s: %s", kind, left)
			}
		}
	})

	t.Run("values of companies", func(t *testing.T) {
		for name, values := range valuesOfCompanies(t).Rendered {
			t.Run(name, func(t *testing.T) {
				for document := range strings.SplitSeq(mustRenderText(t, toYAML(t, values)), "\n---\n") {
					c.checkDocument(t, name, document)
				}
			})
		}
	})

	t.Run("examples", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(chartDir, "examples/*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("there are no examples: %v", err)
		}
		for _, file := range files {
			for document := range strings.SplitSeq(mustRenderText(t, read(t, file)), "\n---\n") {
				c.checkDocument(t, file, document)
			}
		}
		c.mustCreate(t, read(t, "../../../../deploy/alertmanager/alertmanagerconfig.yaml"), "", true)
	})
}

// checkDocument checks that the API server takes an object, and the pods that it makes.
func (c *cluster) checkDocument(t *testing.T, set, document string) {
	t.Helper()
	var o object
	if err := yaml.Unmarshal([]byte(document), &o); err != nil || o.Kind == "" {
		t.Fatalf("%v: %s", err, document)
	}
	if o.Kind == "ServiceAccount" {
		// Pods need it.
		if status, answer := c.create(t, document, companiesNamespace, false); status != http.StatusCreated && status != http.StatusConflict {
			t.Errorf("%d %s", status, answer)
		}
		return
	}
	c.mustCreate(t, document, companiesNamespace, true)
	if o.Kind != "Deployment" {
		return
	}
	var pod map[string]any
	if err := json.Unmarshal(o.Spec.Template, &pod); err != nil {
		t.Fatal(err)
	}
	pod["apiVersion"], pod["kind"] = "v1", "Pod"
	pod["metadata"].(map[string]any)["name"] = "pod"
	status, answer := c.create(t, toYAML(t, pod), companiesNamespace, true)
	// Containers of the users' own are not as restricted as the namespace demands.
	if container := map[string]string{"sidecar": "vault", "init": "wait"}[set]; container != "" {
		if status != http.StatusForbidden || !strings.Contains(answer, `container \"`+container+`\" must set`) || strings.Contains(answer, `\"exporter\"`) {
			t.Errorf("%d %s", status, answer)
		}
		return
	}
	if status != http.StatusCreated {
		t.Errorf("%d %s", status, answer)
	}
}
