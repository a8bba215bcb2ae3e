package once

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// shape describes the JSON values at one place of a document. The only values that it
// contains are booleans and members of known enumerations.
type shape struct {
	// kinds describes the values.
	kinds map[string]*lengths
	// items is the shape of the items of arrays, or nil if there are none.
	items *shape
	// members are the shapes of the members of objects. Members whose names may have been
	// chosen by users are only counted.
	members map[string]*shape
	hidden  int
}

// lengths summarizes the lengths of strings or arrays.
type lengths struct{ count, shortest, longest int }

func (l *lengths) add(n int) {
	if l.count == 0 || n < l.shortest {
		l.shortest = n
	}
	l.longest = max(l.longest, n)
	l.count++
}

const (
	// maxDepth is the maximum nesting of a shape.
	maxDepth = 20
	// maxMembers is the maximum number of members of an object.
	maxMembers = 200
	// maxKinds is the maximum number of kinds of value at one place.
	maxKinds = 20
	// maxPattern is the maximum length of the pattern of a time, in bytes.
	maxPattern = 40
)

var (
	// fieldName matches the names of the API's fields. Names with digits or hyphens are
	// likely to be chosen by users.
	fieldName = regexp.MustCompile(`^[A-Za-z]{1,30}(_[A-Za-z]{1,30}){0,5}$`)
	// timeField matches the names of fields that contain times.
	timeField = regexp.MustCompile(`(At|[Dd]ate|[Ee]xpiry|[Rr]otation)$`)
	isoTime   = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)(?:(T\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?)?$`)
)

// freeForm lists the objects whose members are named by users, with the exceptions.
var freeForm = map[string][]string{"tags": nil, "metadata": {"syncTokenInSecretStoreInfo"}}

// enumerations lists the values that are shown, by field.
var enumerations = map[string][]string{
	"type": {
		"serviceaccount", "virtual-account", "virtualaccount", "pat", "personal-access-token", "jwt", "opaque",
		"email", "slack-bot", "slack-webhook", "pagerduty", "microsoft-teams",
	},
	"subjectType":  {"user", "team", "serviceaccount", "virtualaccount", "external-identity", "agent-identity", "role"},
	"tokenType":    {"jwt", "opaque"},
	"token_type":   {"jwt", "opaque"},
	"resourceType": {"tenant", "role", "account", "workspace", "cluster", "provider-account"},
}

// shapeOf returns the shape of a JSON text.
func shapeOf(text []byte) (*shape, error) {
	d := jsontext.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	s := new(shape)
	if err := s.read(d, "", 0); err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the end")
	}
	return s, nil
}

// read adds the next value, which is the value of a field.
func (s *shape) read(d *jsontext.Decoder, field string, depth int) error {
	kind := d.PeekKind()
	if depth == maxDepth && (kind == jsontext.KindBeginObject || kind == jsontext.KindBeginArray) {
		s.count("deeper than this goes", 0)
		return d.SkipValue()
	}
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch kind {
	case jsontext.KindBeginObject:
		return s.readObject(d, field, depth)
	case jsontext.KindBeginArray:
		return s.readArray(d, field, depth)
	case jsontext.KindString:
		text := token.String()
		s.count(kindOfString(field, text), len(text))
	case jsontext.KindNumber:
		if strings.ContainsAny(token.String(), ".eE") {
			s.count("number with a fraction or an exponent", 0)
		} else {
			s.count("integer", 0)
		}
	default: // null, true and false
		s.count(token.String(), 0)
	}
	return nil
}

// readObject adds the members of an object.
func (s *shape) readObject(d *jsontext.Decoder, field string, depth int) error {
	known, free := freeForm[field]
	s.count("object", 0)
	for d.PeekKind() != jsontext.KindEndObject {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		member := s.members[name]
		switch {
		case member != nil:
		case len(s.members) == maxMembers, !fieldName.MatchString(name), free && !slices.Contains(known, name):
			s.hidden++
			member = new(shape) // is not kept
		default:
			if s.members == nil {
				s.members = map[string]*shape{}
			}
			member = new(shape)
			s.members[name] = member
		}
		if err := member.read(d, name, depth+1); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// readArray adds the items of an array.
func (s *shape) readArray(d *jsontext.Decoder, field string, depth int) error {
	n := 0
	for ; d.PeekKind() != jsontext.KindEndArray; n++ {
		if s.items == nil {
			s.items = new(shape)
		}
		if err := s.items.read(d, field, depth+1); err != nil {
			return err
		}
	}
	s.count("array", n)
	_, err := d.ReadToken()
	return err
}

// count adds a value of a kind.
func (s *shape) count(kind string, length int) {
	if s.kinds == nil {
		s.kinds = map[string]*lengths{}
	}
	if s.kinds[kind] == nil {
		if len(s.kinds) >= maxKinds {
			kind = "something else"
		}
		s.kinds[kind] = cmp.Or(s.kinds[kind], new(lengths))
	}
	s.kinds[kind].add(length)
}

// kindOfString describes a string without repeating it.
func kindOfString(field, text string) string {
	switch {
	case text == "":
		return "empty string"
	case slices.Contains(enumerations[field], text):
		return `"` + text + `"`
	}
	if parts := isoTime.FindStringSubmatch(text); parts != nil {
		zone := parts[5]
		if zone != "" && zone != "Z" {
			zone = "+hh:mm"
		}
		layout := "yyyy-mm-dd"
		if parts[2] != "" {
			layout += "Thh:mm"
		}
		if parts[3] != "" {
			layout += ":ss"
		}
		if parts[4] != "" {
			layout += "." + strings.Repeat("s", len(parts[4])-1)
		}
		return "time as " + layout + zone
	}
	if timeField.MatchString(field) {
		return "string like " + pattern(text)
	}
	return "string"
}

// pattern replaces letters by a and digits by 9.
func pattern(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsDigit(r):
			return '9'
		case r > unicode.MaxASCII || unicode.IsLetter(r):
			return 'a'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, text[:min(len(text), maxPattern)])
}

// write writes the shape of the value with the given name.
func (s *shape) write(w io.Writer, name, indent string) {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(s.kinds)) {
		l := s.kinds[kind]
		if kind == "string" || kind == "array" {
			kind += fmt.Sprintf(" of %d", l.shortest)
			if l.shortest < l.longest {
				kind += fmt.Sprintf(" to %d", l.longest)
			}
		}
		kinds = append(kinds, fmt.Sprintf("%s (%d)", kind, l.count))
	}
	fmt.Fprintf(w, "%s%s: %s\n", indent, name, strings.Join(kinds, ", "))
	indent += "  "
	if s.items != nil {
		s.items.write(w, "each", indent)
	}
	for _, member := range slices.Sorted(maps.Keys(s.members)) {
		s.members[member].write(w, member, indent)
	}
	if s.hidden > 0 {
		fmt.Fprintf(w, "%smembers whose names are not shown: %d\n", indent, s.hidden)
	}
}
