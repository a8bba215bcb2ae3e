package client

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// page is one response of a list endpoint.
type page struct {
	tokens []Token
	// length counts the items, whether they could be read or not.
	length int
	// total is the length of the whole list by the page's word, negative if the page
	// does not say.
	total int64
	// limit is how many items the server granted by the page's word, nil if the page
	// does not say, and 0 if that cannot be read.
	limit *int64
	// DecodeErrors are those of items and of the pagination. invalidValues are those
	// of tokens, by index: they only count if the token is not a duplicate.
	DecodeErrors
	invalidValues map[int]invalidValues
	offsets       map[int]int // of these tokens, in the list
}

// invalidValues are the values of one item that could not be read: a count for each
// field, however many there are.
type invalidValues []struct {
	field Field
	count int
}

// add counts a value.
func (v *invalidValues) add(field Field) {
	for i := range *v {
		if (*v)[i].field == field {
			(*v)[i].count++
			return
		}
	}
	*v = append(*v, struct {
		field Field
		count int
	}{field, 1})
}

// contain reports whether there is a value of the field.
func (v invalidValues) contain(field Field) bool {
	for i := range v {
		if v[i].field == field {
			return true
		}
	}
	return false
}

// DecodeErrors are the parts of a list that could not be read.
type DecodeErrors struct {
	// InvalidItems counts the items that could not be read at all.
	InvalidItems int
	// InvalidFields counts the values of other items that could not be read.
	InvalidFields map[Field]int
	// Examples are the first ten of both.
	Examples []InvalidValue
}

// maxExamples is the number of Examples.
const maxExamples = 10

// addItem counts an item.
func (e *DecodeErrors) addItem(offset int) {
	e.InvalidItems++
	e.addExample(InvalidValue{Offset: offset})
}

// addValue counts values of a field.
func (e *DecodeErrors) addValue(v InvalidValue, count int) {
	if e.InvalidFields == nil {
		e.InvalidFields = map[Field]int{}
	}
	e.InvalidFields[v.Field] += count
	for range min(count, maxExamples) {
		e.addExample(v)
	}
}

func (e *DecodeErrors) addExample(v InvalidValue) {
	if len(e.Examples) < maxExamples {
		e.Examples = append(e.Examples, v)
	}
}

// add adds the errors of a page. Pages arrive in any order, but the examples must
// not change from scrape to scrape: they are the first ones of the list.
func (e *DecodeErrors) add(page *DecodeErrors) {
	e.InvalidItems += page.InvalidItems
	for field, n := range page.InvalidFields {
		e.InvalidFields[field] += n
	}
	e.Examples = append(e.Examples, page.Examples...)
	// As unsigned numbers, the -1 of pagination comes last.
	slices.SortStableFunc(e.Examples, func(a, b InvalidValue) int { return cmp.Compare(uint(a.Offset), uint(b.Offset)) })
	e.Examples = e.Examples[:min(len(e.Examples), maxExamples)]
}

// InvalidValue is a part of a list that could not be read.
type InvalidValue struct {
	// ID is the token's ID, empty if the whole item could not be read.
	ID string
	// Field is empty if the whole item could not be read.
	Field Field
	// Offset is the position of the item in the list, counted from 0. It is -1 for
	// values that do not belong to an item, like pagination.total.
	Offset int
}

// String says what could not be read, and of which token.
func (v InvalidValue) String() string {
	switch {
	case v.Offset < 0:
		return string(v.Field)
	case v.Field == "":
		return "the item at offset " + strconv.Itoa(v.Offset)
	}
	return fmt.Sprintf("%s of the token with id %q", v.Field, v.ID)
}

// decodePage reads the page at the offset, which may have up to maxItems items. It
// holds one value at a time, so that memory does not depend on what else the items
// contain. An error means that the body is not a page. The secrets are redacted in what
// tokens quote.
func decodePage(body io.Reader, offset, maxItems int, secrets ...string) (*page, error) {
	d := newDecoder(body)
	d.secrets = secrets
	if next := d.peek(); next != jsontext.KindBeginObject && next != jsontext.KindInvalid {
		return nil, errors.New(`it does not start with "{"`)
	}
	p := &page{total: -1}
	var hasData, isNull bool
	if d.enter(jsontext.KindBeginObject) {
		for d.member() {
			switch string(d.name) {
			case "data":
				hasData, isNull = true, d.peek() == jsontext.KindNull
				p.decodeItems(d, offset, maxItems)
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

// decodeItems reads the value of "data".
func (p *page) decodeItems(d *decoder, offset, maxItems int) {
	switch d.peek() {
	case jsontext.KindBeginArray, jsontext.KindNull, jsontext.KindInvalid:
	default:
		d.err = errors.New(`"data" is not an array`)
		return
	}
	if d.enter(jsontext.KindBeginArray) {
		var it item
		for d.more(jsontext.KindEndArray) {
			if p.length == maxItems {
				d.err = errTooManyItems
				return
			}
			decodeItem(d, &it)
			p.addItem(&it, offset+p.length)
			p.length++
		}
	}
}

func (p *page) addItem(it *item, offset int) {
	if it.ID == "" {
		p.DecodeErrors.addItem(offset)
		return
	}
	if len(it.invalid) > 0 {
		if p.invalidValues == nil {
			p.invalidValues, p.offsets = map[int]invalidValues{}, map[int]int{}
		}
		p.invalidValues[len(p.tokens)], p.offsets[len(p.tokens)] = it.invalid, offset
	}
	p.tokens = append(p.tokens, it.token())
}

// decodePagination reads the value of "pagination". What cannot be read of it does
// not affect the items.
func (p *page) decodePagination(d *decoder) {
	var is pagination
	d.field, d.invalid = "pagination", nil
	paginationObject.decode(d, &is)
	if is.total != nil && *is.total < 0 {
		is.total = nil
		d.invalid.add(FieldTotal)
	}
	if d.invalid.contain("pagination") {
		d.invalid = invalidValues{{FieldTotal, 1}}
	}
	for _, invalid := range d.invalid {
		p.addValue(InvalidValue{Field: invalid.field, Offset: -1}, invalid.count)
	}
	if is.total != nil {
		p.total = *is.total
	}
	p.limit = is.limit
	if d.invalid.contain(FieldLimit) {
		p.limit = new(int64(0))
	}
}
