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

// nodeError is an error about a part of a file. Its text contains no values.
type nodeError struct {
	node *yaml.Node
	text string
}

// Error implements error.
func (e *nodeError) Error() string { return e.text }

// isNull reports whether a node is null or has no value.
func isNull(node *yaml.Node) bool { return node.ShortTag() == "!!null" }

// field returns the value of a field of a mapping, or nil if there is none.
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

// findNonStringKey returns the first key below node that is not a string: field looks
// keys up by their text.
func findNonStringKey(node *yaml.Node) *yaml.Node {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 && child.ShortTag() != "!!str" && child.ShortTag() != "!!merge" {
			return child
		}
		if key := findNonStringKey(child); key != nil {
			return key
		}
	}
	return nil
}

// findReference returns the value of the first field below node that refers to a
// secret manager.
func findReference(node *yaml.Node) *yaml.Node {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			if strings.HasSuffix(child.Value, "_ref") {
				return node.Content[i+1]
			}
			continue
		}
		if node.Kind == yaml.MappingNode && slices.Contains(freeForm, node.Content[i-1].Value) {
			continue
		}
		if found := findReference(child); found != nil {
			return found
		}
	}
	return nil
}

// freeForm lists the fields whose keys are chosen by users.
var freeForm = []string{"http_headers", "proxy_connect_header", "endpoint_params", "claims"}

// maxErrors is the maximum number of errors reported for a file.
const maxErrors = 5

// describeLoadError returns err with the paths of the fields that it is about and
// without the values that it may contain.
func describeLoadError(root *yaml.Node, err error) error {
	var (
		several *yaml.LoadErrors
		single  *yaml.LoadError
		texts   []string
	)
	switch {
	case errors.As(err, &several):
		for _, e := range several.Errors {
			if len(texts) == maxErrors {
				texts = append(texts, "and more")
				break
			}
			// An alias repeats the errors of its anchor.
			if text := describeOne(root, e); !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	case errors.As(err, &single):
		texts = append(texts, describeOne(root, single))
	default:
		texts = append(texts, "it is not YAML")
	}
	return errors.New(strings.Join(texts, "; "))
}

// These match the names of fields and headers, but no API keys.
var (
	fieldName         = regexp.MustCompile(`^([a-z_]{1,40}|oauth2|enable_http2)$`)
	headerOrFieldName = regexp.MustCompile(`^([A-Za-z_-]{1,40}|oauth2|enable_http2|<<)$`)
)

// hints explain fields that do not exist but that users may expect.
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

// describeOne returns the text of a single error.
func describeOne(root *yaml.Node, err *yaml.LoadError) string {
	if inner := (*yaml.LoadError)(nil); errors.As(err.Unwrap(), &inner) && inner.Mark.Line > 0 {
		err = inner // returned by an UnmarshalYAML, with a position of its own
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
	var invalid *nodeError
	if errors.As(err.Unwrap(), &invalid) {
		// Nodes are compared by position since merges copy them.
		at = func(n *yaml.Node, _ bool) bool {
			return n.Line == invalid.node.Line && n.Column == invalid.node.Column
		}
		line = fmt.Sprintf("line %d: ", invalid.node.Line)
	}
	node, path := find(root, "", at)
	switch {
	case strings.Contains(err.Message, "no documents"):
		return "it is empty: list the targets under targets"
	case strings.Contains(err.Message, "found multiple"):
		return "it has several documents: put all targets into one"
	case node == nil:
		return line + "it cannot be understood"
	case invalid != nil:
		return line + path + ": " + invalid.text
	case unknown && fieldName.MatchString(node.Value):
		return line + path + ": there is no field " + node.Value + hints[node.Value]
	case unknown:
		return line + path + ": there is no such field"
	case repeated && fieldName.MatchString(node.Value):
		return line + path + ": the field " + node.Value + " is there twice"
	case repeated:
		return line + path + ": a field is there twice"
	}
	return line + path + ": " + describeMismatch(node, err.Message)
}

// validationError matches the errors of Validate methods in prometheus/common, which
// contain the names of fields only.
var validationError = regexp.MustCompile(`^(at most one of|exactly one of|if) [a-z_,& ]+$`)

// describeMismatch describes the type that a value should have.
func describeMismatch(node *yaml.Node, message string) string {
	if !strings.HasPrefix(message, "cannot construct ") {
		if node.Kind == yaml.MappingNode && validationError.MatchString(message) {
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

// find returns the first node that matches, and its path. The path of a key is the
// path of its mapping.
func find(node *yaml.Node, path string, matches func(n *yaml.Node, key bool) bool) (*yaml.Node, string) {
	if node.Kind != yaml.DocumentNode && matches(node, false) {
		if path == "" {
			path = "the file"
		}
		return node, path
	}
	for i, child := range node.Content {
		childPath := path
		switch {
		case node.Kind == yaml.SequenceNode:
			childPath = fmt.Sprintf("%s[%d]", path, i)
		case node.Kind == yaml.MappingNode && i%2 == 0:
			if matches(child, true) {
				if path == "" {
					path = "the file"
				}
				return child, path
			}
			continue
		case node.Kind == yaml.MappingNode:
			name := node.Content[i-1].Value
			if !headerOrFieldName.MatchString(name) {
				name = "…"
			}
			childPath = strings.TrimPrefix(path+"."+name, ".")
		}
		if found, at := find(child, childPath, matches); found != nil {
			return found, at
		}
	}
	return nil, ""
}
