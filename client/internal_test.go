package client

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// paths returns the paths of everything that is read of a JSON value that goes
// into a v, below path.
func paths(v reflect.Type, path string) (all []string) {
	if v.Kind() == reflect.Slice {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || reflect.PointerTo(v).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	for field := range v.Fields() {
		if key := field.Tag.Get("json"); key != "" {
			member := strings.TrimPrefix(path+"."+key, ".")
			all = append(append(all, member), paths(field.Type, member)...)
		}
	}
	return all
}

func TestFieldsAreWhatIsRead(t *testing.T) {
	want := append(paths(reflect.TypeFor[item](), ""), "pagination.total")
	got := []string{"id"}
	for _, field := range Fields() {
		got = append(got, string(field))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Fields and id are\n%q, what is read is\n%q", got, want)
	}
}

func TestTheLimitIsNoEndOfTheBody(t *testing.T) {
	const page = `{ "meta": {"a": 1}, "data": [{"id":"a","x":"y"}, {"id":"b","name":5} ], "pagination": {"total": 2} } `
	for left := range len(page) + 2 {
		p, err := decodePage(&limitedReader{from: strings.NewReader(page), left: left}, 0)
		switch {
		case left <= len(page):
			if !errors.Is(err, errTooLarge) {
				t.Errorf("limited to %d of %d bytes: %v", left, len(page), err)
			}
		case err != nil:
			t.Error(err)
		case p.length != 2 || p.total != 2:
			t.Errorf("page is %+v", p)
		}
	}
}
