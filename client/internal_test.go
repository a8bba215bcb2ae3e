package client

import (
	"errors"
	"strings"
	"testing"
)

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
