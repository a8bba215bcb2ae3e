// Package chart renders the Helm chart, and checks what comes out of it.
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
)

const chartDir = "../../../../deploy/helm/truefoundry-exporter"

// `make test` builds and installs the programs, and says where they are.
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
	for _, variable := range needed {
		if os.Getenv(variable) == "" {
			fmt.Fprintf(os.Stderr, "These tests run built programs, and %s does not say where. Run them with `make chart-check` at the top of the repository.\n", variable)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// run runs a program that gets nothing of the test's environment but the home
// that Helm wants.
func run(t *testing.T, path string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// renderDir renders the chart of a directory with the minimal values and what
// else is given, each either a text of YAML or a name of a file in ci/.
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

// mustRender returns the objects of the chart with these values.
func mustRender(t *testing.T, values ...string) objects {
	t.Helper()
	out, err := renderDir(t, chartDir, values...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, out)
}

// refused returns why the chart is not rendered with these values.
func refused(t *testing.T, values ...string) string {
	t.Helper()
	_, err := renderDir(t, chartDir, values...)
	if err == nil {
		t.Fatal("the chart is rendered")
	}
	return err.Error()
}

// objects are rendered objects by kind and name.
type objects map[string]runtime.Object

// strict knows the kinds that the chart may have, and no fields that they have not.
var strict = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apps.AddToScheme, budget.AddToScheme, core.AddToScheme, networking.AddToScheme, monitoring.AddToScheme, alerting.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

func decode(t *testing.T, text string) objects {
	t.Helper()
	all := objects{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		if strings.TrimSpace(strings.TrimPrefix(document, "---")) == "" {
			continue
		}
		object, kind, err := strict.Decode([]byte(document), nil, nil)
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
			t.Fatalf("%s is there twice", id)
		}
		all[id] = object
	}
	return all
}

// get returns the object of this type and id.
func get[T runtime.Object](t *testing.T, from objects, id string) T {
	t.Helper()
	object, ok := from[id].(T)
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	return object
}

// The names with a release called rel.
const fullName = "rel-truefoundry-exporter"

func deployment(t *testing.T, from objects) *apps.Deployment {
	t.Helper()
	return renamed(t, from, fullName)
}

// renamed returns the Deployment where it has another name.
func renamed(t *testing.T, from objects, name string) *apps.Deployment {
	t.Helper()
	return get[*apps.Deployment](t, from, "Deployment/"+name)
}

// config returns the file of targets.
func config(t *testing.T, from objects, name string) string {
	t.Helper()
	return get[*core.ConfigMap](t, from, "ConfigMap/"+name).Data["targets.yml"]
}

// write writes a file, and makes the folders above it.
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

// start starts the exporter with a log that tells where it listens, and ends it
// with the test.
func start(t *testing.T, env []string, args ...string) (url string, pid int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, exporterPath, append(args, "--web.listen-address=127.0.0.1:0")...)
	cmd.Env = env
	log := &listening{at: make(chan string, 1)}
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
	case address := <-log.at:
		return "http://" + address, cmd.Process.Pid
	case <-time.After(patience):
		t.Fatal("the exporter does not say where it listens")
	case err := <-ended:
		ended <- err
		t.Fatalf("the exporter ended: %v", err)
	}
	return "", 0
}

// mustRenderText returns what comes out of the chart with these values as it is.
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
