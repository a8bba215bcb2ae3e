// Package chart tests the Helm chart.
package chart

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	alerting "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	budget "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/subprocess"
)

const chartDir = "../../../../deploy/helm/truefoundry-exporter"

// The Makefile sets these.
var (
	helmPath     = os.Getenv("CHARTTEST_HELM")
	promtoolPath = os.Getenv("CHARTTEST_PROMTOOL")
	exporterPath = os.Getenv("CHARTTEST_EXPORTER")
)

func TestMain(m *testing.M) {
	flag.Parse()
	needed := []string{"CHARTTEST_HELM", "CHARTTEST_PROMTOOL", "CHARTTEST_EXPORTER"}
	if !testing.Short() {
		needed = append(needed, "CHARTTEST_KUBERNETES_DIR", "CHARTTEST_ETCD", "CHARTTEST_CRD_DIR")
	}
	if err := subprocess.RequireEnv("`make chart-check`", needed...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// run runs a program with an empty environment, except for PATH and a temporary HOME.
func run(t *testing.T, path string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// renderDir renders the chart in a directory with the minimal values and other values. Each
// of these is either YAML or the name of a file in ci/.
func renderDir(t *testing.T, dir string, values ...string) (string, error) {
	t.Helper()
	args := []string{"template", "rel", dir, "--namespace", "mon", "--values", filepath.Join(chartDir, "ci/minimal-values.yaml")}
	for i, text := range values {
		file := filepath.Join(chartDir, "ci", text)
		if !strings.HasSuffix(text, "-values.yaml") {
			file = filepath.Join(t.TempDir(), fmt.Sprintf("%d.yaml", i))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, "--values", file)
	}
	out, errOut, err := run(t, helmPath, args...)
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, errOut)
	}
	return out, nil
}

// mustRender renders the chart with these values and returns its objects.
func mustRender(t *testing.T, values ...string) objects {
	t.Helper()
	out, err := renderDir(t, chartDir, values...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, out)
}

// renderError returns the error of rendering the chart with these values.
func renderError(t *testing.T, values ...string) string {
	t.Helper()
	_, err := renderDir(t, chartDir, values...)
	if err == nil {
		t.Fatal("the chart accepts the values")
	}
	return err.Error()
}

// objects are rendered objects by kind and name.
type objects map[string]runtime.Object

// strictDecoder decodes the kinds of objects in the chart. Unknown fields are an error.
var strictDecoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apps.AddToScheme, budget.AddToScheme, core.AddToScheme, networking.AddToScheme, monitoring.AddToScheme, alerting.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// decode decodes rendered objects.
func decode(t *testing.T, text string) objects {
	t.Helper()
	all := objects{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		if strings.TrimSpace(strings.TrimPrefix(document, "---")) == "" {
			continue
		}
		object, kind, err := strictDecoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%v:\n%s", err, document)
		}
		var named struct {
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(document), &named); err != nil {
			t.Fatal(err)
		}
		id := kind.Kind + "/" + named.Metadata.Name
		if all[id] != nil {
			t.Fatalf("there are two objects %s", id)
		}
		all[id] = object
	}
	return all
}

// get returns the object with this type and ID.
func get[T runtime.Object](t *testing.T, from objects, id string) T {
	t.Helper()
	object, ok := from[id].(T)
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	return object
}

// fullName is the name of most objects in a release named rel.
const fullName = "rel-truefoundry-exporter"

// deployment returns the Deployment with the default name.
func deployment(t *testing.T, from objects) *apps.Deployment {
	t.Helper()
	return deploymentNamed(t, from, fullName)
}

// deploymentNamed returns the Deployment with this name.
func deploymentNamed(t *testing.T, from objects, name string) *apps.Deployment {
	t.Helper()
	return get[*apps.Deployment](t, from, "Deployment/"+name)
}

// config returns the configuration file in the ConfigMap with this name.
func config(t *testing.T, from objects, name string) string {
	t.Helper()
	return get[*core.ConfigMap](t, from, "ConfigMap/"+name).Data["targets.yml"]
}

// write writes a file and creates its parent directories.
func write(t *testing.T, text string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// start starts the exporter, which ends when the test ends. It returns its URL and process
// ID.
func start(t *testing.T, env []string, args ...string) (url string, pid int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, exporterPath, append(args, "--web.listen-address=127.0.0.1:0")...)
	cmd.Env = env
	log := &listenLog{address: make(chan string, 1)}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	select {
	case address := <-log.address:
		return "http://" + address, cmd.Process.Pid
	case <-time.After(patience):
		t.Fatal("the exporter does not log its address")
	case err := <-ended:
		ended <- err
		t.Fatalf("the exporter ended: %v", err)
	}
	return "", 0
}

// mustRenderText returns the rendered text of the chart with these values.
func mustRenderText(t *testing.T, values ...string) string {
	t.Helper()
	out, err := renderDir(t, chartDir, values...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func labelsOf(object runtime.Object) map[string]string {
	return object.(meta.Object).GetLabels()
}
