package config

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	commoncfg "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v4"
)

const chartDir = "../../deploy/helm/truefoundry-exporter"

// schema is a part of the chart's JSON schema.
type schema struct {
	Ref                  string             `json:"$ref"`
	Properties           map[string]*schema `json:"properties"`
	AdditionalProperties *schema            `json:"additionalProperties"`
	Definitions          map[string]*schema `json:"definitions"`
}

// The chart supports each field of the configuration file, or has a hint what to use
// instead. It supports no other fields.
func TestChartSupportsTheFieldsOfTheFile(t *testing.T) {
	var root schema
	if err := json.Unmarshal(readChart(t, "values.schema.json"), &root); err != nil {
		t.Fatal(err)
	}
	var hints map[string]string
	if err := yaml.Load(readChart(t, "files/hints.yaml"), &hints); err != nil {
		t.Fatal(err)
	}
	c := chartFields{root.Definitions, hints}
	target := root.Definitions["target"].Properties
	http := target["http"]
	for _, own := range []string{"keySecret", "keyFile", "http"} {
		delete(target, own)
	}
	inFile := map[string]*schema{}
	for name, value := range target {
		inFile[snakeCase(name)] = value
	}
	own := fieldsOf(reflect.TypeFor[fileTarget]())
	of := reflect.TypeFor[commoncfg.HTTPClientConfig]()
	for name := range fieldsOf(of) {
		delete(own, name)
	}
	if got, want := slices.Sorted(maps.Keys(inFile)), slices.Sorted(maps.Keys(own)); !slices.Equal(got, want) {
		t.Errorf("the chart supports the fields %q of a target, the exporter %q", got, want)
	}
	c.compare(t, "targets.http", http, of)
}

type chartFields struct {
	definitions map[string]*schema
	hints       map[string]string
}

// compare compares the chart's schema of the field at path with its type.
func (c chartFields) compare(t *testing.T, path string, chart *schema, of reflect.Type) {
	t.Helper()
	if chart.Ref != "" {
		chart = c.definitions[strings.TrimPrefix(chart.Ref, "#/definitions/")]
	}
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of == reflect.TypeFor[commoncfg.Headers]() {
		c.compare(t, path+".*", chart.AdditionalProperties, reflect.TypeFor[commoncfg.Header]())
		return
	}
	fields := fieldsOf(of)
	for name, field := range fields {
		known, hint := chart.Properties[name], c.hints[path+"."+name]+c.hints[name]
		switch {
		case known == nil && hint == "":
			t.Errorf("the chart does not support %s.%s, and has no hint what to use instead", path, name)
		case known != nil && len(c.resolved(known).Properties) > 0, field == reflect.TypeFor[*commoncfg.Headers]():
			c.compare(t, path+"."+name, known, field)
		}
	}
	for name := range chart.Properties {
		if fields[name] == nil {
			t.Errorf("the exporter does not support the chart's %s.%s", path, name)
		}
	}
}

func (c chartFields) resolved(s *schema) *schema {
	if s.Ref == "" {
		return s
	}
	return c.definitions[strings.TrimPrefix(s.Ref, "#/definitions/")]
}

// fieldsOf returns the types of a struct's fields by their names in YAML.
func fieldsOf(typ reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for field := range typ.Fields() {
		switch name, options, _ := strings.Cut(field.Tag.Get("yaml"), ","); {
		case options == "inline":
			maps.Copy(fields, fieldsOf(field.Type))
		case name != "" && name != "-":
			fields[name] = field.Type
		}
	}
	return fields
}

// snakeCase converts the name of a chart value to the name of a field in the file.
func snakeCase(name string) string {
	var snake strings.Builder
	for _, r := range name {
		if r >= 'A' && r <= 'Z' {
			snake.WriteString("_" + strings.ToLower(string(r)))
			continue
		}
		snake.WriteRune(r)
	}
	return snake.String()
}

func readChart(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
