package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// page is one answer of a list endpoint.
type page struct {
	tokens []Token
	// length counts the items, readable or not.
	length int
	// total is what the page tells of the whole list, negative where it does not.
	total int64
	// Losses are the page's own: unreadable items, and the total. values are
	// those of its tokens, by index in tokens: they only count where the token
	// is not a duplicate.
	Losses
	values map[int][]Unreadable
}

// Losses are what a listing held and that could not be read.
type Losses struct {
	// InvalidItems counts the items that are lost as a whole.
	InvalidItems int
	// InvalidFields counts the values that are lost of other items.
	InvalidFields map[Field]int
	// Unreadable has the first few of both.
	Unreadable []Unreadable
}

// maxUnreadable is how many of the losses are told one by one.
const maxUnreadable = 10

func (l *Losses) lose(u Unreadable) {
	if u.Field == "" {
		l.InvalidItems++
	} else {
		if l.InvalidFields == nil {
			l.InvalidFields = map[Field]int{}
		}
		l.InvalidFields[u.Field]++
	}
	if len(l.Unreadable) < maxUnreadable {
		l.Unreadable = append(l.Unreadable, u)
	}
}

// add adds the losses of others to l, whose InvalidFields is not nil.
func (l *Losses) add(others *Losses) {
	l.InvalidItems += others.InvalidItems
	for field, n := range others.InvalidFields {
		l.InvalidFields[field] += n
	}
	l.Unreadable = append(l.Unreadable, others.Unreadable...)
}

// Unreadable is one thing that a listing held and that could not be read.
type Unreadable struct {
	// ID is the token's, empty where the whole item is lost.
	ID string
	// Field is empty where the whole item is lost.
	Field Field
	// Offset is the item's position in the list, counted from 0; -1 for a value
	// that belongs to no item (pagination.total).
	Offset int
}

// String says what could not be read, and of which token.
func (u Unreadable) String() string {
	switch {
	case u.Offset < 0:
		return string(u.Field)
	case u.Field == "":
		return "the item at offset " + strconv.Itoa(u.Offset)
	}
	return fmt.Sprintf("%s of the token with id %q", u.Field, u.ID)
}

// decodePage reads the answer to a request for the items from offset on. It
// holds one item at a time, so that memory does not depend on what else the
// items carry. An error means that this is not a page at all.
func decodePage(body io.Reader, offset int) (*page, error) {
	window := &window{from: body}
	dec := json.NewDecoder(window)
	p := &page{total: -1}
	if err := expect(dec, '{'); err != nil {
		return nil, err
	}
	var hasData, isNull bool
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		switch key {
		case "data":
			hasData = true
			isNull, err = p.decodeData(dec, window, offset)
		case "pagination":
			err = p.decodePagination(dec)
		default:
			err = dec.Decode(new(ignored))
		}
		if err != nil {
			return nil, fmt.Errorf("in \"%v\": %w", key, err)
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, err
	}
	switch _, err := dec.Token(); {
	case err == nil:
		return nil, errors.New("there is more after the end")
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	switch {
	case !hasData:
		return nil, errors.New(`there is no "data"`)
	case isNull && p.total != 0:
		return nil, errors.New(`"data" is null, and "pagination.total" is not 0`)
	}
	return p, nil
}

// decodeData reads the value of "data" and tells whether it is null.
func (p *page) decodeData(dec *json.Decoder, window *window, offset int) (isNull bool, err error) {
	start, err := dec.Token()
	if err != nil {
		return false, err
	}
	if start == nil {
		return true, nil
	}
	if start != json.Delim('[') {
		return false, errors.New("it is not an array")
	}
	for dec.More() {
		window.discard(dec.InputOffset())
		var it item
		err := dec.Decode(&it)
		if mismatch := (*json.UnmarshalTypeError)(nil); errors.As(err, &mismatch) {
			it.decodeFields(bytes.TrimLeft(window.upTo(dec.InputOffset()), ", \t\r\n"))
		} else if err != nil {
			return false, err
		}
		p.add(&it, offset+p.length)
		p.length++
	}
	_, err = dec.Token() // the closing bracket
	return false, err
}

func (p *page) add(it *item, offset int) {
	if it.ID == "" {
		p.lose(Unreadable{Offset: offset})
		return
	}
	token, invalid := it.token()
	for _, field := range invalid {
		if p.values == nil {
			p.values = map[int][]Unreadable{}
		}
		i := len(p.tokens)
		p.values[i] = append(p.values[i], Unreadable{ID: token.ID, Field: field, Offset: offset})
	}
	p.tokens = append(p.tokens, token)
}

// decodePagination reads the total, which only plans requests: one that cannot
// be read costs nothing else.
func (p *page) decodePagination(dec *json.Decoder) error {
	var pagination struct {
		Total *int64 `json:"total"`
	}
	err := dec.Decode(&pagination)
	mismatch := (*json.UnmarshalTypeError)(nil)
	if err != nil && !errors.As(err, &mismatch) {
		return err
	}
	switch total := pagination.Total; {
	case err != nil, total != nil && *total < 0:
		p.lose(Unreadable{Field: FieldTotal, Offset: -1})
	case total != nil:
		p.total = *total
	}
	return nil
}

func expect(dec *json.Decoder, delim json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token != delim {
		return fmt.Errorf("it does not start with %q", delim)
	}
	return nil
}

// ignored is a JSON value that nobody asked for.
type ignored struct{}

// UnmarshalJSON accepts anything.
func (*ignored) UnmarshalJSON([]byte) error { return nil }

// window remembers what was read through it and not yet discarded.
type window struct {
	from io.Reader
	kept []byte
	// start is the offset of kept's first byte, and discarded how many of
	// kept's bytes are of no use any more.
	start     int64
	discarded int
}

// Read implements io.Reader. It fills p where it can: with each Read the decoder
// looks anew at all the blanks that it has before it.
func (w *window) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = w.from.Read(p[n:])
		n += more
	}
	w.start += int64(w.discarded)
	w.kept = append(append(w.kept[:0], w.kept[w.discarded:]...), p[:n]...)
	w.discarded = 0
	return n, err
}

// discard forgets what stands before offset.
func (w *window) discard(offset int64) { w.discarded = int(offset - w.start) }

// upTo returns what stands before offset and was not discarded.
func (w *window) upTo(offset int64) []byte { return w.kept[w.discarded : offset-w.start] }
