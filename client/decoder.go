package client

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder decodes a stream of JSON values. It records and skips values of an unexpected
// type. After a syntax error, it decodes nothing more.
type decoder struct {
	json *jsontext.Decoder
	// name is the name of the current member. The next member overwrites it.
	name []byte
	// field is the field of the next value.
	field Field
	// invalid are the invalid values of the current item.
	invalid invalidValues
	// interned are the strings returned by internedText, by their JSON.
	interned map[string]string
	// secrets are redacted by redact.
	secrets []string
	// err is the error that ended decoding.
	err error
}

func newDecoder(r io.Reader) *decoder {
	return &decoder{
		json:     jsontext.NewDecoder(r, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)),
		interned: map[string]string{},
	}
}

// object describes how an object of the API is decoded into a T. Other members are
// skipped.
type object[T any] []member[T]

// member is a member of an object.
type member[T any] struct {
	name   string
	field  Field
	decode func(*decoder, *T)
	// nested are the fields of a member that is an object or an array.
	nested []Field
}

// newObject returns the object at a path of the response, with its members.
func newObject[T any](path string, members ...member[T]) object[T] {
	for i := range members {
		members[i].field = Field(strings.TrimPrefix(path+"."+members[i].name, "."))
	}
	return members
}

// scalar returns a member that is stored in the variable that the function at returns.
// The function read is a method of decoder.
func scalar[T, V any](name string, read func(*decoder) V, at func(*T) *V) member[T] {
	return member[T]{name: name, decode: func(d *decoder, into *T) { *at(into) = read(d) }}
}

// nested returns a member that is an object.
func nested[T, V any](name string, of object[V], at func(*T) *V) member[T] {
	return member[T]{name: name, nested: of.fields(), decode: func(d *decoder, into *T) {
		var zero V
		*at(into) = zero
		of.decode(d, at(into))
	}}
}

// optional returns a member that is an object. It is nil if it is absent or invalid.
func optional[T, V any](name string, of object[V], at func(*T) **V) member[T] {
	return member[T]{name: name, nested: of.fields(), decode: func(d *decoder, into *T) {
		var value *V
		if d.peek() == jsontext.KindBeginObject {
			value = new(V)
		}
		of.decode(d, value)
		*at(into) = value
	}}
}

// array returns a member that is an array of objects.
func array[T, V any](name string, of object[V], maxLength int, at func(*T) *[]V) member[T] {
	return member[T]{name: name, nested: of.fields(), decode: func(d *decoder, into *T) {
		*at(into) = decodeArray(d, of, maxLength, (*at(into))[:0])
	}}
}

// fields returns the fields of the object and of nested objects.
func (o object[T]) fields() []Field {
	var all []Field
	for _, m := range o {
		all = append(append(all, m.field), m.nested...)
	}
	return all
}

// decode decodes an object.
func (o object[T]) decode(d *decoder, into *T) {
	if !d.readBegin(jsontext.KindBeginObject) {
		return
	}
	next := 0
	for d.nextMember() {
		m, found := o.find(d.name, next)
		if !found {
			d.skip()
			continue
		}
		next = m + 1
		d.field = o[m].field
		o[m].decode(d, into)
	}
}

// find returns the index of the member with that name. It starts at next because servers
// usually send members in the same order.
func (o object[T]) find(name []byte, next int) (int, bool) {
	for i := range o {
		m := next + i
		if m >= len(o) {
			m -= len(o)
		}
		if o[m].name == string(name) {
			return m, true
		}
	}
	return 0, false
}

// decodeArray decodes an array of objects and appends them to all. Elements beyond
// maxLength are invalid.
func decodeArray[T any](d *decoder, of object[T], maxLength int, all []T) []T {
	field := d.field
	if !d.readBegin(jsontext.KindBeginArray) {
		return all
	}
	for d.more(jsontext.KindEndArray) {
		d.field = field
		if len(all) == maxLength {
			d.addInvalid()
			d.skip()
			continue
		}
		var zero T
		all = append(all, zero)
		of.decode(d, &all[len(all)-1])
	}
	return all
}

// peek returns the kind of the next value, or KindInvalid after an error.
func (d *decoder) peek() jsontext.Kind {
	if d.err != nil {
		return jsontext.KindInvalid
	}
	return d.json.PeekKind()
}

// addInvalid records that the current value is invalid.
func (d *decoder) addInvalid() { d.invalid.add(d.field) }

// read returns the next value if it has the given kind. Other values are skipped, and
// recorded as invalid unless they are null.
func (d *decoder) read(kind jsontext.Kind) (token jsontext.Token, ok bool) {
	switch d.peek() {
	case kind:
		token, d.err = d.json.ReadToken()
		return token, d.err == nil
	case jsontext.KindNull:
	default:
		d.addInvalid()
	}
	d.skip()
	return token, false
}

// skip skips the next value.
func (d *decoder) skip() {
	if d.err == nil {
		d.err = d.json.SkipValue()
	}
}

// readBegin reads the start of an object or an array.
func (d *decoder) readBegin(begin jsontext.Kind) bool {
	_, ok := d.read(begin)
	return ok
}

// more reports whether the current object or array has more elements. At its end, more
// reads the end.
func (d *decoder) more(end jsontext.Kind) bool {
	if d.peek() == end {
		d.read(end)
		return false
	}
	return d.err == nil
}

// nextMember reads the name of the next member of an object. It returns false at the end
// of the object.
func (d *decoder) nextMember() bool {
	if !d.more(jsontext.KindEndObject) {
		return false
	}
	name, ok := d.read(jsontext.KindString)
	if ok {
		d.name = append(d.name[:0], name.String()...)
	}
	return ok
}

// text reads a string. It returns an empty string if the value is absent or invalid.
func (d *decoder) text() string {
	if token, ok := d.read(jsontext.KindString); ok {
		return token.String()
	}
	return ""
}

// internedText reads a string like text does. Equal strings share memory, which saves
// memory for values that many items have in common.
func (d *decoder) internedText() string {
	if d.peek() != jsontext.KindString {
		return d.text()
	}
	raw, err := d.json.ReadValue()
	if d.err = err; err != nil {
		return ""
	}
	text, ok := d.interned[string(raw)]
	if !ok {
		unquoted, _ := jsontext.AppendUnquote(nil, raw) // the error is about invalid UTF-8, which is replaced
		text = string(unquoted)
		if len(raw) <= maxText {
			d.interned[string(raw)] = text
		}
	}
	return text
}

// apiKeyPattern matches JWTs and API keys.
var apiKeyPattern = regexp.MustCompile(`\b(eyJ[\w-]{8,}(\.[\w-]*)*|tfy[_-][\w.-]{8,})`)

// redact returns an error of a secret store for the log, without API keys: it may contain
// the JWT that should have been stored.
func (d *decoder) redact(text string) string {
	return detail(apiKeyPattern.ReplaceAllString(text, redacted), d.secrets...)
}

// integer reads an integer. It returns nil if the value is absent or invalid.
func (d *decoder) integer() *int64 {
	token, ok := d.read(jsontext.KindNumber)
	if !ok {
		return nil
	}
	number, err := token.Int()
	if err != nil {
		d.addInvalid()
		return nil
	}
	return &number
}

// boolean reads a boolean. It returns nil if the value is absent or invalid.
func (d *decoder) boolean() *bool {
	kind := jsontext.KindFalse
	if d.peek() == jsontext.KindTrue {
		kind = jsontext.KindTrue
	}
	if _, ok := d.read(kind); !ok {
		return nil
	}
	value := kind == jsontext.KindTrue
	return &value
}

// maxDays is the longest valid interval: the number of days in the years 0 to 9999.
const maxDays = 3652425

// days reads a number of days. It returns nil if the value is absent or invalid.
func (d *decoder) days() *int64 {
	days := d.integer()
	if days != nil && (*days < 0 || *days > maxDays) {
		d.addInvalid()
		return nil
	}
	return days
}

// timestamp reads a time. An empty string counts as null.
func (d *decoder) timestamp() (v timeValue) {
	absent := d.peek() == jsontext.KindNull
	if token, ok := d.read(jsontext.KindString); ok {
		text := token.String()
		absent = text == ""
		if v.Time, v.dateOnly, ok = parseTime(text); !ok && !absent {
			d.addInvalid()
		}
	}
	v.unreadable = v.IsZero() && !absent
	return v
}

// finish returns the error that ended decoding, or an error if there is data after the
// value.
func (d *decoder) finish() error {
	if d.err == nil {
		_, d.err = d.json.ReadToken()
		switch {
		case d.err == nil:
			return errors.New("there is more after the end")
		case errors.Is(d.err, io.EOF):
			return nil
		}
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](d.err); ok {
		// The text of the error itself may contain names of members.
		return fmt.Errorf("%w after %d bytes", syntax.Err, syntax.ByteOffset)
	}
	return d.err
}
