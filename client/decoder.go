package client

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder reads JSON, one value after the other. A value of another type than
// expected is recorded and skipped. What is not JSON ends the reading.
type decoder struct {
	json *jsontext.Decoder
	// name is the name of the current member, until the next one is read.
	name []byte
	// field is the field of the value that comes next.
	field Field
	// invalid are the values of the current item that could not be read.
	invalid invalidValues
	// words holds the texts read by word, by their JSON.
	words map[string]string
	// secrets are redacted in quotes.
	secrets []string
	// err is why the reading ended.
	err error
}

func newDecoder(from io.Reader) *decoder {
	return &decoder{
		json:  jsontext.NewDecoder(from, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)),
		words: map[string]string{},
	}
}

// object describes how an object of the API is decoded into a T. What it does not
// declare is skipped.
type object[T any] []member[T]

// member is a member of an object.
type member[T any] struct {
	name   string
	field  Field
	decode func(*decoder, *T)
	// nested are the fields of the member's own members.
	nested []Field
}

// newObject returns the object at a path, with these members.
func newObject[T any](path string, members ...member[T]) object[T] {
	for i := range members {
		members[i].field = Field(strings.TrimPrefix(path+"."+members[i].name, "."))
	}
	return members
}

// These are members by the type of their value. Each is decoded to where the
// function points.

func text[T any](name string, at func(*T) *string) member[T] {
	return member[T]{name: name, decode: func(d *decoder, into *T) { *at(into) = d.text() }}
}

func word[T any](name string, at func(*T) *string) member[T] {
	return member[T]{name: name, decode: func(d *decoder, into *T) { *at(into) = d.word() }}
}

func timestamp[T any](name string, at func(*T) *timeValue) member[T] {
	return member[T]{name: name, decode: func(d *decoder, into *T) { *at(into) = d.time() }}
}

func boolean[T any](name string, at func(*T) **bool) member[T] {
	return member[T]{name: name, decode: func(d *decoder, into *T) { *at(into) = d.flag() }}
}

func integer[T any](name string, at func(*T) **int64) member[T] {
	return member[T]{name: name, decode: func(d *decoder, into *T) { *at(into) = d.integer() }}
}

func numberOfDays[T any](name string, at func(*T) **int64) member[T] {
	return member[T]{name: name, decode: func(d *decoder, into *T) { *at(into) = d.days() }}
}

func nested[T, V any](name string, of object[V], at func(*T) *V) member[T] {
	return member[T]{name: name, nested: of.fields(), decode: func(d *decoder, into *T) {
		var zero V
		*at(into) = zero
		of.decode(d, at(into))
	}}
}

// optional is nested for an object whose presence matters: it leaves nil if there is
// none.
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

func array[T, V any](name string, of object[V], maxLength int, at func(*T) *[]V) member[T] {
	return member[T]{name: name, nested: of.fields(), decode: func(d *decoder, into *T) {
		*at(into) = decodeArray(d, of, maxLength, (*at(into))[:0])
	}}
}

// fields returns the fields of the object and of the objects in it.
func (o object[T]) fields() []Field {
	var all []Field
	for _, m := range o {
		all = append(append(all, m.field), m.nested...)
	}
	return all
}

// decode reads an object.
func (o object[T]) decode(d *decoder, into *T) {
	if !d.enter(jsontext.KindBeginObject) {
		return
	}
	next := 0
	for d.member() {
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

// find returns the index of the member of that name. It begins at next, since
// servers send members in much the same order each time.
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

// decodeArray reads an array of objects and appends them. Those beyond maxLength are
// invalid.
func decodeArray[T any](d *decoder, of object[T], maxLength int, all []T) []T {
	field := d.field
	if !d.enter(jsontext.KindBeginArray) {
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

// peek returns the kind of the value that comes next, KindInvalid if nothing can be
// read.
func (d *decoder) peek() jsontext.Kind {
	if d.err != nil {
		return jsontext.KindInvalid
	}
	return d.json.PeekKind()
}

// addInvalid records that the current value cannot be read.
func (d *decoder) addInvalid() { d.invalid.add(d.field) }

// read returns the next value if it is of that kind. Null counts as absent.
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

func (d *decoder) skip() {
	if d.err == nil {
		d.err = d.json.SkipValue()
	}
}

// enter goes into the object or the array that comes next.
func (d *decoder) enter(begin jsontext.Kind) bool {
	_, ok := d.read(begin)
	return ok
}

// more reports whether there is more before the end of an object or an array, and
// leaves it if there is not.
func (d *decoder) more(end jsontext.Kind) bool {
	if d.peek() == end {
		d.read(end)
		return false
	}
	return d.err == nil
}

// member reads the name of the next member of an object, and returns false if there
// is none.
func (d *decoder) member() bool {
	if !d.more(jsontext.KindEndObject) {
		return false
	}
	name, ok := d.read(jsontext.KindString)
	if ok {
		d.name = append(d.name[:0], name.String()...)
	}
	return ok
}

// text returns a string, empty if there is none.
func (d *decoder) text() string {
	if token, ok := d.read(jsontext.KindString); ok {
		return token.String()
	}
	return ""
}

// word returns a string that many items are likely to have in common, and keeps it
// once.
func (d *decoder) word() string {
	if d.peek() != jsontext.KindString {
		return d.text()
	}
	raw, err := d.json.ReadValue()
	if d.err = err; err != nil {
		return ""
	}
	word, known := d.words[string(raw)]
	if !known {
		text, _ := jsontext.AppendUnquote(nil, raw) // replaces what is not UTF-8
		word = string(text)
		if len(raw) <= maxText {
			d.words[string(raw)] = word
		}
	}
	return word
}

// apiKeyPattern matches what looks like an API key, whoever's it is.
var apiKeyPattern = regexp.MustCompile(`\b(eyJ[\w-]{8,}(\.[\w-]*)*|tfy[_-][\w.-]{8,})`)

// quote returns foreign text for the log: a secret store may repeat the JWT that it
// was to keep.
func (d *decoder) quote(text string) string {
	return detail(apiKeyPattern.ReplaceAllString(text, redacted), d.secrets...)
}

// integer returns a whole number, nil if there is none.
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

// flag returns a boolean, nil if there is none.
func (d *decoder) flag() *bool {
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

// maxDays is the longest interval that is believed: the years 0 to 9999.
const maxDays = 3652425

// days returns a whole number of days, nil if there is none.
func (d *decoder) days() *int64 {
	days := d.integer()
	if days != nil && (*days < 0 || *days > maxDays) {
		d.addInvalid()
		return nil
	}
	return days
}

// time returns a point in time. An empty string counts as null.
func (d *decoder) time() (v timeValue) {
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

// end returns why the reading ended early, or an error if there is more to read.
func (d *decoder) end() error {
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
		// Its own text repeats names of members.
		return fmt.Errorf("%w after %d bytes", syntax.Err, syntax.ByteOffset)
	}
	return d.err
}
