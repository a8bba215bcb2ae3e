package client

import (
	"strings"
	"time"
)

// earliest and latest bound the times that are believed. Go's zero time, the
// Unix epoch and the like are somebody's word for "none", not a time.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
)

// parseTime reads the forms of ISO 8601 that the API was seen to use: RFC 3339,
// the same without seconds or without a zone (which is UTC then), and a bare
// date, which is 00:00 UTC of its day.
func parseTime(text string) (t time.Time, dateOnly, ok bool) {
	layout := time.RFC3339
	if date, clock, found := strings.Cut(text, "T"); !found {
		layout, dateOnly = time.DateOnly, true
	} else if len(date) == len(time.DateOnly) {
		zone := strings.IndexAny(clock, "Z+-")
		layout = time.DateOnly + "T15:04"
		if hhmm := clock[:max(zone, 0)]; zone < 0 && len(clock) > len("15:04") || len(hhmm) > len("15:04") {
			layout += ":05"
		}
		if zone >= 0 {
			layout += "Z07:00"
		}
	}
	t, err := time.Parse(layout, text)
	if err != nil || t.Before(earliest) || t.After(latest) {
		return time.Time{}, false, false
	}
	return t.UTC(), dateOnly, true
}
