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

var update = flag.Bool("update", false, "update the table of fields in docs/configuration.md")

// Targets with the required fields only, one for each kind of credentials.
const (
	plainTarget  = "targets:\n- name: acme\n  url: https://acme.example\n  authorization: {credentials_file: key}\n"
	oauth2Target = "targets:\n- name: acme\n  url: https://acme.example\n  oauth2: {client_id: me, client_secret_file: secret, token_url: https://idp.example}\n"
)

// requiredFields are the required fields of a target.
var requiredFields = []string{"name", "url", "oauth2.client_id", "oauth2.token_url"}

// notAccepted is how the description of a field begins that Prometheus has but the exporter
// rejects.
const notAccepted = "Not accepted"

// The table lists each field of a target with its type and its default. The meanings are
// maintained in the document.
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
	d.add("", reflect.TypeFor[fileTarget]())
	var b strings.Builder
	b.WriteString("| field | type | default | meaning |\n|---|---|---|---|\n")
	for _, f := range d.fields {
		if meanings[f.path] == "" {
			t.Errorf("%s does not describe the field %s", document, f.path)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.path, typeName(f), defaultOf(t, f.path), meanings[f.path])
	}
	docstest.Region(t, document, "fields", b.String(), *update)
}

func TestFieldsDocumentedAsNotAcceptedAreRejected(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| ([a-z ]+) \\| [^|]* \\| "+notAccepted).FindAllStringSubmatch(string(text), -1)
	if len(rows) == 0 {
		t.Error("no field is documented as not accepted")
	}
	for _, row := range rows {
		value := map[string]string{"boolean": "true", "object": "{}", "map": "{a: b}"}[row[2]]
		if value == "" {
			value = "text"
		}
		parent, name, nested := strings.Cut(row[1], ".")
		config := plainTarget + "  " + parent + ": " + value + "\n"
		switch {
		case nested && parent == "authorization":
			config = strings.Replace(plainTarget, "credentials_file: key", name+": "+value, 1)
		case nested && parent == "oauth2":
			config = strings.Replace(oauth2Target, "client_id", name+": "+value+", client_id", 1)
		case nested:
			config = plainTarget + "  " + parent + ": {" + name + ": " + value + "}\n"
		}
		if _, err := parse([]byte(config), "."); err == nil {
			t.Errorf("%s is accepted", row[1])
		}
	}
}

// documentedField is a field of a target.
type documentedField struct {
	path string
	typ  reflect.Type
}

type documentedFields struct {
	meanings map[string]string
	fields   []documentedField
}

// add adds the fields of a struct. Fields below a field that is not accepted have no rows,
// and neither have those of oauth2.tls_config, which are the same as those of tls_config.
func (d *documentedFields) add(path string, typ reflect.Type) {
	for field := range typ.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		fieldType := field.Type
		if fieldType.Kind() == reflect.Pointer {
			fieldType = fieldType.Elem()
		}
		if options == "inline" {
			d.add(path, fieldType)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		f := documentedField{path + name, fieldType}
		d.fields = append(d.fields, f)
		switch {
		case strings.HasPrefix(d.meanings[f.path], notAccepted):
		case fieldType == reflect.TypeFor[commoncfg.Headers]():
			d.add(f.path+".*.", reflect.TypeFor[commoncfg.Header]())
		case isObject(fieldType) && (fieldType != reflect.TypeFor[commoncfg.TLSConfig]() || path == ""):
			d.add(f.path+".", fieldType)
		}
	}
}

// isObject reports whether a type has fields in YAML.
func isObject(typ reflect.Type) bool {
	return typ.Kind() == reflect.Struct && typ != reflect.TypeFor[commoncfg.URL]()
}

// typeName returns the type of a field as it is documented.
func typeName(f documentedField) string {
	name := map[reflect.Type]string{
		reflect.TypeFor[commoncfg.URL]():        "URL",
		reflect.TypeFor[commoncfg.Secret]():     "secret",
		reflect.TypeFor[commoncfg.TLSVersion](): "TLS version",
		reflect.TypeFor[commoncfg.Headers]():    "map",
	}[f.typ]
	switch {
	case name != "":
		return name
	case f.path == "url":
		return "URL"
	case strings.HasSuffix(f.path, "_file"):
		return "path"
	case strings.HasSuffix(f.path, ".files"):
		return "list of paths"
	case f.typ.Kind() == reflect.Struct:
		return "object"
	case f.typ.Kind() == reflect.Map:
		return "map"
	case f.typ == reflect.TypeFor[[]commoncfg.Secret]():
		return "list of secrets"
	case f.typ.Kind() == reflect.Slice:
		return "list of strings"
	case f.typ.Kind() == reflect.Bool:
		return "boolean"
	}
	return f.typ.Kind().String()
}

// defaultOf returns the default of a field: "required", a value, or an empty string.
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

// valueOf returns the value of a field by its name in YAML, or the zero Value if it is not
// set.
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
