package client

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
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
// holds one value at a time, so that memory does not depend on what else the
// items carry. An error means that this is not a page at all.
func decodePage(body io.Reader, offset int) (*page, error) {
	d := newDecoder(body)
	if next := d.next(); next != jsontext.KindBeginObject && next != jsontext.KindInvalid {
		return nil, errors.New(`it does not start with "{"`)
	}
	p := &page{total: -1}
	var hasData, isNull bool
	if d.enter(jsontext.KindBeginObject) {
		for d.member("") {
			switch string(d.path) {
			case "data":
				hasData, isNull = true, d.next() == jsontext.KindNull
				p.decodeData(d, offset)
			case "pagination":
				p.decodePagination(d)
			default:
				d.skip()
			}
		}
	}
	switch err := d.end(); {
	case err != nil:
		return nil, err
	case !hasData:
		return nil, errors.New(`there is no "data"`)
	case isNull && p.total != 0:
		return nil, errors.New(`"data" is null, and "pagination.total" is not 0`)
	}
	return p, nil
}

// decodeData reads the value of "data".
func (p *page) decodeData(d *decoder, offset int) {
	switch d.next() {
	case jsontext.KindBeginArray, jsontext.KindNull, jsontext.KindInvalid:
	default:
		d.err = errors.New(`"data" is not an array`)
		return
	}
	if d.enter(jsontext.KindBeginArray) {
		for d.more(jsontext.KindEndArray) {
			if p.length == maxItems {
				d.err = errTooMany
				return
			}
			it := d.item()
			p.add(&it, offset+p.length)
			p.length++
		}
	}
}

func (p *page) add(it *item, offset int) {
	if it.ID == "" {
		p.lose(Unreadable{Offset: offset})
		return
	}
	token := it.token()
	for _, field := range it.unreadable {
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
func (p *page) decodePagination(d *decoder) {
	d.unreadable = nil
	var total *int64
	if d.enter(jsontext.KindBeginObject) {
		for d.member("pagination.") {
			if Field(d.path) == FieldTotal {
				total = d.integer()
			} else {
				d.skip()
			}
		}
	}
	switch {
	case len(d.unreadable) > 0, total != nil && *total < 0:
		p.lose(Unreadable{Field: FieldTotal, Offset: -1})
	case total != nil:
		p.total = *total
	}
}
