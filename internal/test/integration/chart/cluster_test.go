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
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/subprocess"
)

// The Makefile sets these: the programs of a cluster, and the operator's CRDs.
var (
	kubernetesDir = os.Getenv("CHARTTEST_KUBERNETES_DIR")
	etcdPath      = os.Getenv("CHARTTEST_ETCD")
	crdDir        = os.Getenv("CHARTTEST_CRD_DIR")
)

// clusterPatience is the timeout for everything that a cluster does.
const clusterPatience = 3 * time.Minute

// cluster is a Kubernetes control plane without nodes. Pods are admitted, but never run.
type cluster struct {
	url        string
	token      string
	kubeconfig string
	client     *http.Client
}

// startCluster starts etcd, the API server, and the controllers that create and delete the
// pods of Deployments. They end when the test ends.
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

	// The certificate is written before the server is ready.
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

// freeAddress returns a loopback address with a free port.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// newKey returns a private key in PEM.
func newKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// startProgram starts a program, which ends when the test ends. Its log is printed if the
// test has failed.
func startProgram(t *testing.T, path string, args ...string) {
	t.Helper()
	name := filepath.Base(path)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := subprocess.Command(ctx, path, args...)
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

// await waits until the check succeeds.
func await(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(clusterPatience)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: still %v", what, err)
		}
	}
}

// request sends a request to the API server. The status is 0 if there is no response.
func (c *cluster) request(t *testing.T, method, path string, body []byte) (status int, response string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, c.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// object is a Kubernetes object of any kind.
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

// collection returns the API path of the objects of a kind.
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

// create creates an object, or checks with dryRun whether it can be created. The API server
// rejects unknown fields.
func (c *cluster) create(t *testing.T, document, namespace string, dryRun bool) (status int, response string) {
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

// mustCreate fails the test if the object cannot be created.
func (c *cluster) mustCreate(t *testing.T, document, namespace string, dryRun bool) {
	t.Helper()
	if status, response := c.create(t, document, namespace, dryRun); status != http.StatusCreated {
		t.Fatalf("%d %s:\n%s", status, response, document)
	}
}

// names returns the names of the objects of a kind in the release.
func (c *cluster) names(t *testing.T, apiVersion, kind, namespace string) string {
	t.Helper()
	status, response := c.request(t, http.MethodGet, collection(apiVersion, kind, namespace)+"?labelSelector=app.kubernetes.io/instance%3Drel", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, response)
	}
	var list struct{ Items []object }
	if err := json.Unmarshal([]byte(response), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Metadata.Name)
	}
	return strings.Join(names, " ")
}

// awaitPods waits until the Deployment is the only one with pods, and has as many as wanted.
func (c *cluster) awaitPods(t *testing.T, deployment string, want int) {
	t.Helper()
	await(t, fmt.Sprintf("%d pods of %s", want, deployment), func() error {
		names := strings.Fields(c.names(t, "v1", "Pod", "mon"))
		for _, name := range names {
			if !strings.HasPrefix(name, deployment+"-") {
				return fmt.Errorf("the pods are %q", names)
			}
		}
		if len(names) == want {
			return nil
		}
		_, events := c.request(t, http.MethodGet, "/api/v1/namespaces/mon/events?fieldSelector=reason%3DFailedCreate", nil)
		return fmt.Errorf("the pods are %q; failures: %s", names, events)
	})
}

// helm runs a Helm command in the cluster.
func (c *cluster) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, err := run(t, helmPath, append(args, "--kubeconfig="+c.kubeconfig, "--namespace=mon")...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut)
	}
	return out
}

// companiesNamespace is the namespace for the tests with values of companies.
const companiesNamespace = "companies"

const restrictedNamespace = `{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: restricted}}}`

// prepare creates the objects that the chart requires.
func (c *cluster) prepare(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crdDir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no CRDs in %s: %v", crdDir, err)
	}
	for _, file := range files {
		c.mustCreate(t, read(t, file), "", false)
	}
	for _, kind := range []string{"ServiceMonitor", "PodMonitor", "PrometheusRule"} {
		await(t, kind+"s", func() error {
			if status, response := c.request(t, http.MethodGet, collection("monitoring.coreos.com/v1", kind, ""), nil); status != http.StatusOK {
				return fmt.Errorf("%d %s", status, response)
			}
			return nil
		})
	}
	for _, name := range []string{"mon", "monitoring", "grafana", companiesNamespace} {
		c.mustCreate(t, fmt.Sprintf(restrictedNamespace, name), "", false)
	}
	await(t, "the default service account", func() error {
		if status, response := c.request(t, http.MethodGet, "/api/v1/namespaces/mon/serviceaccounts/default", nil); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, response)
		}
		return nil
	})
	c.mustCreate(t, `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: monitoring}, value: 1}`, "", false)
	c.mustCreate(t, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: platform-exporters}}`, companiesNamespace, false)
}

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Kubernetes control plane")
	}
	t.Parallel()
	c := startCluster(t)
	c.prepare(t)

	t.Run("lifecycle of a release", func(t *testing.T) {
		minimal, full := filepath.Join(chartDir, "ci/minimal-values.yaml"), filepath.Join(chartDir, "ci/full-values.yaml")
		more := write(t, everything+"podDisruptionBudget: {maxUnavailable: 1}\nreplicas: 3\n", t.TempDir(), "values.yaml")
		monitors := func() string { return c.names(t, "monitoring.coreos.com/v1", "ServiceMonitor", "") }

		c.helm(t, "install", "rel", chartDir, "--values="+minimal)
		c.awaitPods(t, fullName, 1)
		if got := monitors(); got != "" {
			t.Errorf("the ServiceMonitors are %q, want none", got)
		}
		for document := range strings.SplitSeq(c.helm(t, "get", "hooks", "rel"), "\n---\n") {
			c.mustCreate(t, document, "mon", true)
		}

		c.helm(t, "upgrade", "rel", chartDir, "--values="+minimal, "--values="+more)
		c.awaitPods(t, fullName, 3)
		if got := monitors(); got != fullName {
			t.Errorf("the ServiceMonitors are %q", got)
		}

		c.helm(t, "rollback", "rel", "1")
		c.awaitPods(t, fullName, 1)
		if got := monitors(); got != "" {
			t.Errorf("the ServiceMonitors after a rollback are %q, want none", got)
		}

		// These values change the name, so that everything is replaced.
		c.helm(t, "upgrade", "rel", chartDir, "--values="+full)
		c.awaitPods(t, "tfy-exporter", 2)
		if got := monitors(); got != "tfy-exporter" {
			t.Errorf("the ServiceMonitors are %q", got)
		}

		c.helm(t, "uninstall", "rel")
		c.awaitPods(t, "none", 0)
		for kind, apiVersion := range map[string]string{
			"ConfigMap": "v1", "Deployment": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1", "PodDisruptionBudget": "policy/v1", "PrometheusRule": "monitoring.coreos.com/v1",
			"Service": "v1", "ServiceAccount": "v1", "ServiceMonitor": "monitoring.coreos.com/v1",
		} {
			if left := c.names(t, apiVersion, kind, ""); left != "" {
				t.Errorf("helm uninstall leaves %s: %s", kind, left)
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

// checkDocument checks that the API server accepts an object and the pods of a Deployment.
func (c *cluster) checkDocument(t *testing.T, set, document string) {
	t.Helper()
	var o object
	if err := yaml.Unmarshal([]byte(document), &o); err != nil || o.Kind == "" {
		t.Fatalf("%v: %s", err, document)
	}
	if o.Kind == "ServiceAccount" {
		// Pods require it.
		if status, response := c.create(t, document, companiesNamespace, false); status != http.StatusCreated && status != http.StatusConflict {
			t.Errorf("%d %s", status, response)
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
	status, response := c.create(t, toYAML(t, pod), companiesNamespace, true)
	// The user's own containers may violate the policy of the namespace.
	if container := map[string]string{"sidecar": "vault", "init": "wait"}[set]; container != "" {
		if status != http.StatusForbidden || !strings.Contains(response, `container \"`+container+`\" must set`) || strings.Contains(response, `\"exporter\"`) {
			t.Errorf("%d %s", status, response)
		}
		return
	}
	if status != http.StatusCreated {
		t.Errorf("%d %s", status, response)
	}
}
