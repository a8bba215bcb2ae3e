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
	// length is the number of items, including invalid ones.
	length int
	// total is the length of the whole list according to the server, or -1 if it is
	// absent or invalid.
	total int64
	// limit is the page size according to the server: nil if it is absent, and 0 if it
	// is invalid.
	limit *int64
	// DecodeErrors are the invalid items and the invalid pagination values.
	DecodeErrors
	// invalidValues are the invalid values of tokens, by index. They do not count for
	// duplicates. offsets are the offsets of these tokens in the list.
	invalidValues map[int]invalidValues
	offsets       map[int]int
}

// invalidValues counts the invalid values of one item by field, in the order in which they
// were found.
type invalidValues []fieldCount

type fieldCount struct {
	field Field
	count int
}

// add counts a value.
func (v *invalidValues) add(field Field) {
	if i := v.index(field); i >= 0 {
		(*v)[i].count++
		return
	}
	*v = append(*v, fieldCount{field, 1})
}

// contain reports whether the field has an invalid value.
func (v invalidValues) contain(field Field) bool { return v.index(field) >= 0 }

func (v invalidValues) index(field Field) int {
	return slices.IndexFunc(v, func(c fieldCount) bool { return c.field == field })
}

// DecodeErrors describes the invalid parts of a list.
type DecodeErrors struct {
	// InvalidItems is the number of invalid items: they are not objects, or have no
	// valid id.
	InvalidItems int
	// InvalidFields is the number of invalid values of each field in valid items and in
	// the pagination.
	InvalidFields map[Field]int
	// Examples are the first ten invalid items and values, ordered by Offset.
	Examples []InvalidValue
}

// maxExamples is the maximum number of Examples.
const maxExamples = 10

// addItem counts an invalid item.
func (e *DecodeErrors) addItem(offset int) {
	e.InvalidItems++
	e.addExample(InvalidValue{Offset: offset})
}

// addValue counts invalid values of a field.
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

// add adds the errors of a page. It keeps the first examples in the list, whatever the
// order in which the pages arrive, so that they are the same in each scrape.
func (e *DecodeErrors) add(page *DecodeErrors) {
	e.InvalidItems += page.InvalidItems
	for field, n := range page.InvalidFields {
		e.InvalidFields[field] += n
	}
	e.Examples = append(e.Examples, page.Examples...)
	// The conversion sorts -1, the offset of pagination values, last.
	slices.SortStableFunc(e.Examples, func(a, b InvalidValue) int { return cmp.Compare(uint(a.Offset), uint(b.Offset)) })
	e.Examples = e.Examples[:min(len(e.Examples), maxExamples)]
}

// InvalidValue is an invalid item or an invalid value.
type InvalidValue struct {
	// ID is the token's ID. It is empty for an invalid item and for pagination values.
	ID string
	// Field is empty for an invalid item.
	Field Field
	// Offset is the index of the item in the list, starting at 0. It is -1 for
	// pagination values.
	Offset int
}

// String describes the value, for logs.
func (v InvalidValue) String() string {
	switch {
	case v.Offset < 0:
		return string(v.Field)
	case v.Field == "":
		return "the item at offset " + strconv.Itoa(v.Offset)
	}
	return fmt.Sprintf("%s of the token with id %q", v.Field, v.ID)
}

// decodePage decodes the page at the offset. It returns an error if the body is not a
// page, or if the page has more than maxItems items. It decodes value by value, so that
// unknown members take no memory. The secrets are redacted in the errors of secret stores.
func decodePage(body io.Reader, offset, maxItems int, secrets ...string) (*page, error) {
	d := newDecoder(body)
	d.secrets = secrets
	if next := d.peek(); next != jsontext.KindBeginObject && next != jsontext.KindInvalid {
		return nil, errors.New(`it does not start with "{"`)
	}
	p := &page{total: -1}
	var hasData, isNull bool
	if d.readBegin(jsontext.KindBeginObject) {
		for d.nextMember() {
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
	switch err := d.finish(); {
	case err != nil:
		return nil, err
	case !hasData:
		return nil, errors.New(`there is no "data"`)
	case isNull && p.total != 0:
		return nil, errors.New(`"data" is null, and "pagination.total" is not 0`)
	}
	return p, nil
}

// decodeItems decodes the value of "data".
func (p *page) decodeItems(d *decoder, offset, maxItems int) {
	switch d.peek() {
	case jsontext.KindBeginArray, jsontext.KindNull, jsontext.KindInvalid:
	default:
		d.err = errors.New(`"data" is not an array`)
		return
	}
	if d.readBegin(jsontext.KindBeginArray) {
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

// addItem adds a decoded item.
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

// decodePagination decodes the value of "pagination". Invalid values do not affect the
// items.
func (p *page) decodePagination(d *decoder) {
	var decoded pagination
	d.field, d.invalid = "pagination", nil
	paginationObject.decode(d, &decoded)
	if decoded.total != nil && *decoded.total < 0 {
		decoded.total = nil
		d.invalid.add(FieldTotal)
	}
	if d.invalid.contain("pagination") {
		d.invalid = invalidValues{{FieldTotal, 1}}
	}
	for _, invalid := range d.invalid {
		p.addValue(InvalidValue{Field: invalid.field, Offset: -1}, invalid.count)
	}
	if decoded.total != nil {
		p.total = *decoded.total
	}
	p.limit = decoded.limit
	if d.invalid.contain(FieldLimit) {
		p.limit = new(int64(0))
	}
}
