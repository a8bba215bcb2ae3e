package client

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder reads JSON, one value after the other. A value that is not what was
// asked for is noted and passed over; what is no JSON ends the reading.
type decoder struct {
	json *jsontext.Decoder
	// path is where the value that comes next stands.
	path []byte
	// words are the texts that were read by word, by their JSON.
	words map[string]string
	// unreadable are the paths of the values that were not what was asked for.
	unreadable []Field
	// err is why the reading ended.
	err error
}

func newDecoder(from io.Reader) *decoder {
	return &decoder{
		json:  jsontext.NewDecoder(from, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)),
		words: map[string]string{},
	}
}

// next returns the kind of what comes next, KindInvalid where nothing can be
// read.
func (d *decoder) next() jsontext.Kind {
	if d.err != nil {
		return jsontext.KindInvalid
	}
	return d.json.PeekKind()
}

// maxNoted is how many unreadable values of an item are noted. From there on, it
// is one for each field: an item may hold millions of them.
const maxNoted = 100

// note notes that the value at the path is unreadable.
func (d *decoder) note() {
	if len(d.unreadable) < maxNoted || !slices.Contains(d.unreadable, Field(d.path)) {
		d.unreadable = append(d.unreadable, Field(d.path))
	}
}

// read returns what comes next if it is of the kind. Null counts as absent.
func (d *decoder) read(kind jsontext.Kind) (token jsontext.Token, ok bool) {
	switch d.next() {
	case kind:
		token, d.err = d.json.ReadToken()
		return token, d.err == nil
	case jsontext.KindNull:
	default:
		d.note()
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

// more tells whether there is more before the end of an object or an array, and
// goes beyond the end where there is not.
func (d *decoder) more(end jsontext.Kind) bool {
	if d.next() == end {
		d.read(end)
		return false
	}
	return d.err == nil
}

// member goes to the next member of an object, whose path ends in a dot or is
// empty, and returns false where there is none.
func (d *decoder) member(object string) bool {
	if !d.more(jsontext.KindEndObject) {
		return false
	}
	name, ok := d.read(jsontext.KindString)
	if ok {
		d.path = append(append(d.path[:0], object...), name.String()...)
	}
	return ok
}

// text returns a string, empty where there is none.
func (d *decoder) text() string {
	if token, ok := d.read(jsontext.KindString); ok {
		return token.String()
	}
	return ""
}

// word returns a string that many items are likely to have, and keeps it once.
func (d *decoder) word() string {
	if d.next() != jsontext.KindString {
		return d.text()
	}
	raw, err := d.json.ReadValue()
	if d.err = err; err != nil {
		return ""
	}
	word, known := d.words[string(raw)]
	if !known {
		text, _ := jsontext.AppendUnquote(nil, raw) // mends what is not UTF-8
		word = string(text)
		if len(raw) <= maxText {
			d.words[string(raw)] = word
		}
	}
	return word
}

// integer returns a whole number, nil where there is none.
func (d *decoder) integer() *int64 {
	token, ok := d.read(jsontext.KindNumber)
	if !ok {
		return nil
	}
	number, err := token.Int()
	if err != nil {
		d.note()
		return nil
	}
	return &number
}

// flag returns a boolean, nil where there is none.
func (d *decoder) flag() *bool {
	kind := jsontext.KindFalse
	if d.next() == jsontext.KindTrue {
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

// days returns a whole number of days, nil where there is none.
func (d *decoder) days() *int64 {
	days := d.integer()
	if days != nil && (*days < 0 || *days > maxDays) {
		d.note()
		return nil
	}
	return days
}

// time returns a point in time. An empty string is as good as null.
func (d *decoder) time() (v timeValue) {
	absent := d.next() == jsontext.KindNull
	if token, ok := d.read(jsontext.KindString); ok {
		text := token.String()
		absent = text == ""
		if v.Time, v.dateOnly, ok = parseTime(text); !ok && !absent {
			d.note()
		}
	}
	v.unreadable = v.IsZero() && !absent
	return v
}

// end expects that there is nothing more, and returns why the reading ended if
// there is, or if it ended before.
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
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(d.err, &syntax) {
		// Its own text repeats names, which may be anything.
		return fmt.Errorf("%w after %d bytes", syntax.Err, syntax.ByteOffset)
	}
	return d.err
}
