package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
)

var update = flag.Bool("update", false, "rewrite the table of fields in docs/configuration.md")

// Two targets with nothing but what is required, one for each kind of credentials.
const (
	plainTarget  = "targets:\n- name: acme\n  url: https://acme.example\n  authorization: {credentials_file: key}\n"
	oauth2Target = "targets:\n- name: acme\n  url: https://acme.example\n  oauth2: {client_id: me, client_secret_file: secret, token_url: https://idp.example}\n"
)

// requiredFields are those that a target cannot be without.
var requiredFields = []string{"name", "url", "oauth2.client_id", "oauth2.token_url"}

// notAccepted is how the meaning of a field begins that exists in Prometheus, and
// that the exporter refuses.
const notAccepted = "Not accepted"

// The table has each field of a target, with its type and its default. The meanings
// are written by hand in the document.
func TestEachFieldOfATargetIsDocumented(t *testing.T) {
	const document = "../../docs/configuration.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	meanings := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_.*]+)` \\| [^|]* \\| [^|]* \\| (.*) \\|$").FindAllStringSubmatch(string(text), -1) {
		meanings[row[1]] = row[2]
	}
	d := documentedFields{meanings: meanings}
	d.walk("", reflect.TypeFor[fileTarget]())
	var b strings.Builder
	b.WriteString("| field | type | default | meaning |\n|---|---|---|---|\n")
	for _, f := range d.fields {
		if meanings[f.path] == "" {
			t.Errorf("%s does not say what the field %s means", document, f.path)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.path, typeName(f), defaultOf(t, f.path), meanings[f.path])
	}
	docstest.Region(t, document, "fields", b.String(), *update)
}

func TestFieldsThatAreNotAcceptedAreRefused(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| ([a-z ]+) \\| [^|]* \\| "+notAccepted).FindAllStringSubmatch(string(text), -1)
	if len(rows) == 0 {
		t.Error("no field is refused")
	}
	for _, row := range rows {
		value := map[string]string{"boolean": "true", "object": "{}", "map": "{a: b}"}[row[2]]
		if value == "" {
			value = "text"
		}
		parent, name, below := strings.Cut(row[1], ".")
		config := plainTarget + "  " + parent + ": " + value + "\n"
		switch {
		case below && parent == "authorization":
			config = strings.Replace(plainTarget, "credentials_file: key", name+": "+value, 1)
		case below && parent == "oauth2":
			config = strings.Replace(oauth2Target, "client_id", name+": "+value+", client_id", 1)
		case below:
			config = plainTarget + "  " + parent + ": {" + name + ": " + value + "}\n"
		}
		if _, err := parse([]byte(config), "."); err == nil {
			t.Errorf("%s is accepted", row[1])
		}
	}
}

// documentedField is a field of a target, with its path in the file.
type documentedField struct {
	path string
	of   reflect.Type
}

type documentedFields struct {
	meanings map[string]string
	fields   []documentedField
}

// walk adds the fields of a struct. Those below a field that is not accepted, and
// those of oauth2.tls_config, which are the ones of tls_config, have no rows.
func (d *documentedFields) walk(path string, of reflect.Type) {
	for field := range of.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		below := field.Type
		if below.Kind() == reflect.Pointer {
			below = below.Elem()
		}
		if options == "inline" {
			d.walk(path, below)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		at := documentedField{path + name, below}
		d.fields = append(d.fields, at)
		switch {
		case strings.HasPrefix(d.meanings[at.path], notAccepted):
		case below == reflect.TypeFor[commoncfg.Headers]():
			d.walk(at.path+".*.", reflect.TypeFor[commoncfg.Header]())
		case isObject(below) && (below != reflect.TypeFor[commoncfg.TLSConfig]() || path == ""):
			d.walk(at.path+".", below)
		}
	}
}

// isObject reports whether a type has fields in YAML.
func isObject(of reflect.Type) bool {
	return of.Kind() == reflect.Struct && of != reflect.TypeFor[commoncfg.URL]() && of != reflect.TypeFor[baseURL]()
}

// typeName is the type of a field in the words of the document.
func typeName(f documentedField) string {
	name := map[reflect.Type]string{
		reflect.TypeFor[commoncfg.URL]():        "URL",
		reflect.TypeFor[baseURL]():              "URL",
		reflect.TypeFor[commoncfg.Secret]():     "secret",
		reflect.TypeFor[commoncfg.TLSVersion](): "TLS version",
		reflect.TypeFor[commoncfg.Headers]():    "map",
	}[f.of]
	switch {
	case name != "":
		return name
	case strings.HasSuffix(f.path, "_file"):
		return "path"
	case strings.HasSuffix(f.path, ".files"):
		return "list of paths"
	case f.of.Kind() == reflect.Struct:
		return "object"
	case f.of.Kind() == reflect.Map:
		return "map"
	case f.of == reflect.TypeFor[[]commoncfg.Secret]():
		return "list of secrets"
	case f.of.Kind() == reflect.Slice:
		return "list of strings"
	case f.of.Kind() == reflect.Bool:
		return "boolean"
	}
	return f.of.Kind().String()
}

// defaultOf returns what a field is where it is not set: "required", a value, or
// nothing.
func defaultOf(t *testing.T, path string) string {
	t.Helper()
	config := plainTarget
	if strings.HasPrefix(path, "oauth2.") {
		config = oauth2Target
	}
	if slices.Contains(requiredFields, path) {
		name := path[strings.LastIndex(path, ".")+1:]
		if _, err := parse([]byte(regexp.MustCompile(`\b`+name+`: [^,}\n]+,?`).ReplaceAllString(config, "")), "."); err == nil {
			t.Errorf("a target without %s is accepted", path)
		}
		return "required"
	}
	if strings.Contains(path, "*") || strings.HasSuffix(path, "credentials_file") || strings.HasSuffix(path, "client_secret_file") {
		return ""
	}
	targets, err := parse([]byte(config), ".")
	if err != nil {
		t.Fatal(err)
	}
	switch path {
	case "api_prefix":
		return "`" + targets[0].APIPrefix + "`"
	case "kinds":
		return fmt.Sprintf("`%s`", targets[0].Kinds)
	case "api_key_token":
		return ""
	}
	value := reflect.ValueOf(targets[0].HTTP)
	for name := range strings.SplitSeq(path, ".") {
		if value = valueOf(value, name); !value.IsValid() {
			return ""
		}
	}
	if value.Kind() == reflect.Bool {
		return fmt.Sprintf("`%v`", value.Bool())
	}
	if !value.IsZero() && !isObject(value.Type()) && value.Kind() != reflect.Pointer {
		return fmt.Sprintf("`%v`", value.Interface())
	}
	return ""
}

// valueOf returns the value of a field by its name in YAML, the zero Value if it is
// not there.
func valueOf(object reflect.Value, name string) reflect.Value {
	if object.Kind() == reflect.Pointer {
		object = object.Elem()
	}
	if !object.IsValid() {
		return object
	}
	for field, value := range object.Fields() {
		switch tag, options, _ := strings.Cut(field.Tag.Get("yaml"), ","); {
		case tag == name:
			return value
		case options == "inline":
			if found := valueOf(value, name); found.IsValid() {
				return found
			}
		}
	}
	return reflect.Value{}
}
