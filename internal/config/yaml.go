package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// problem is what is wrong with a part of a file. Its text does not repeat values.
type problem struct {
	at   *yaml.Node
	text string
}

// Error implements error.
func (p problem) Error() string { return p.text }

// field returns the value of a mapping's field, nil if there is none.
func field(mapping *yaml.Node, name string) *yaml.Node {
	if mapping == nil {
		return nil
	}
	if mapping.Kind == yaml.AliasNode {
		return field(mapping.Alias, name)
	}
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	var merged *yaml.Node
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		switch key, value := mapping.Content[i], mapping.Content[i+1]; {
		case key.Value == name:
			return value
		case key.Value != "<<" || merged != nil:
		case value.Kind == yaml.SequenceNode:
			for _, one := range value.Content {
				merged = cmp.Or(merged, field(one, name))
			}
		default:
			merged = field(value, name)
		}
	}
	return merged
}

// keyThatIsNotText returns the name of a field below node that is not plain text:
// fields are looked up by the text of their names.
func keyThatIsNotText(node *yaml.Node) *yaml.Node {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 && child.ShortTag() != "!!str" && child.ShortTag() != "!!merge" {
			return child
		}
		if key := keyThatIsNotText(child); key != nil {
			return key
		}
	}
	return nil
}

// reference returns the value of a field below node that refers to a secret manager.
func reference(node *yaml.Node) *yaml.Node {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			if strings.HasSuffix(child.Value, "_ref") {
				return node.Content[i+1]
			}
			continue
		}
		if node.Kind == yaml.MappingNode && slices.Contains(freeNames, node.Content[i-1].Value) {
			continue
		}
		if found := reference(child); found != nil {
			return found
		}
	}
	return nil
}

// freeNames are the fields below which users choose names.
var freeNames = []string{"http_headers", "proxy_connect_header", "endpoint_params", "claims"}

// maxProblems is how many problems of a file are reported at a time.
const maxProblems = 5

// explain returns the error for a file that cannot be parsed, without the values that
// err may contain.
func explain(root *yaml.Node, err error) error {
	var (
		several *yaml.LoadErrors
		single  *yaml.LoadError
		texts   []string
	)
	switch {
	case errors.As(err, &several):
		for _, e := range several.Errors {
			if len(texts) == maxProblems {
				texts = append(texts, "and more")
				break
			}
			// An alias repeats the problems of its anchor.
			if text := explainOne(root, e); !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	case errors.As(err, &single):
		texts = append(texts, explainOne(root, single))
	default:
		texts = append(texts, "it is not YAML")
	}
	return errors.New(strings.Join(texts, "; "))
}

// These match the names of fields and of headers, and do not match API keys.
var (
	lowerCase = regexp.MustCompile(`^([a-z_]{1,40}|oauth2|enable_http2)$`)
	letters   = regexp.MustCompile(`^([A-Za-z_-]{1,40}|oauth2|enable_http2|<<)$`)
)

// hints are for fields that people expect to exist.
var hints = map[string]string{ //nolint:gosec // the names of fields
	"kind":             ": it is kinds, a list",
	"api_key":          ": the file of the key is credentials_file, below authorization",
	"api_key_file":     ": it is credentials_file, below authorization",
	"credentials":      " here: it belongs below authorization",
	"credentials_file": " here: it belongs below authorization",
	"credential_file":  ": it is credentials_file",
	"authorisation":    ": it is authorization",
	"target":           ": it is targets",
	"scrape_configs":   ": this is a configuration of Prometheus",
}

func explainOne(root *yaml.Node, err *yaml.LoadError) string {
	if inner := (*yaml.LoadError)(nil); errors.As(err.Unwrap(), &inner) && inner.Mark.Line > 0 {
		err = inner // the error within an UnmarshalYAML, with its own position
	}
	line := ""
	if err.Mark.Line > 0 {
		line = fmt.Sprintf("line %d: ", err.Mark.Line)
	}
	switch err.Stage {
	case "reader", "scanner", "parser":
		return line + "it is not YAML: " + err.Message
	case "constructor":
	default:
		return line + "it is not YAML that can be understood: an anchor or a tag is wrong"
	}

	unknown, repeated := strings.Contains(err.Message, " not found in type "), strings.HasPrefix(err.Message, "mapping key ")
	isKey := unknown || repeated
	at := func(n *yaml.Node, key bool) bool {
		return key == isKey && n.Line == err.Mark.Line && n.Column == err.Mark.Column
	}
	var own problem
	if errors.As(err.Unwrap(), &own) {
		// A merge copies nodes.
		at = func(n *yaml.Node, _ bool) bool {
			return n.Line == own.at.Line && n.Column == own.at.Column
		}
		line = fmt.Sprintf("line %d: ", own.at.Line)
	}
	node, path := find(root, "", at)
	switch {
	case strings.Contains(err.Message, "no documents"):
		return "it is empty: list the targets under targets"
	case strings.Contains(err.Message, "found multiple"):
		return "it has several documents: put all targets into one"
	case node == nil:
		return line + "it cannot be understood"
	case own.at != nil:
		return line + path + ": " + own.text
	case unknown && lowerCase.MatchString(node.Value):
		return line + path + ": there is no field " + node.Value + hints[node.Value]
	case unknown:
		return line + path + ": there is no such field"
	case repeated && lowerCase.MatchString(node.Value):
		return line + path + ": the field " + node.Value + " is there twice"
	case repeated:
		return line + path + ": a field is there twice"
	}
	return line + path + ": " + describeMismatch(node, err.Message)
}

// validation matches the errors of the Validate methods of prometheus/common, which
// contain only names of fields.
var validation = regexp.MustCompile(`^(at most one of|exactly one of|if) [a-z_,& ]+$`)

// describeMismatch says why a value has the wrong type.
func describeMismatch(node *yaml.Node, message string) string {
	if !strings.HasPrefix(message, "cannot construct ") {
		if node.Kind == yaml.MappingNode && validation.MatchString(message) {
			return message
		}
		return "is not valid"
	}
	goType := message[strings.LastIndex(message, " ")+1:]
	switch {
	case goType == "bool":
		return "must be true or false"
	case strings.HasPrefix(goType, "[]"):
		return "must be a list"
	case node.Kind == yaml.SequenceNode:
		return "must not be a list"
	case node.Kind == yaml.MappingNode:
		return "must not have fields"
	}
	return "must have fields, and not one value"
}

// find returns the first node for which is returns true, and its path. The path of a
// field's name is that of the mapping.
func find(node *yaml.Node, path string, is func(n *yaml.Node, key bool) bool) (*yaml.Node, string) {
	if node.Kind != yaml.DocumentNode && is(node, false) {
		if path == "" {
			path = "the file"
		}
		return node, path
	}
	for i, child := range node.Content {
		below := path
		switch {
		case node.Kind == yaml.SequenceNode:
			below = fmt.Sprintf("%s[%d]", path, i)
		case node.Kind == yaml.MappingNode && i%2 == 0:
			if is(child, true) {
				if path == "" {
					path = "the file"
				}
				return child, path
			}
			continue
		case node.Kind == yaml.MappingNode:
			name := node.Content[i-1].Value
			if !letters.MatchString(name) {
				name = "…"
			}
			below = strings.TrimPrefix(path+"."+name, ".")
		}
		if found, at := find(child, below, is); found != nil {
			return found, at
		}
	}
	return nil, ""
}
