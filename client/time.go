package client

import (
	"strings"
	"time"
)

// earliest and latest bound the times that are believed. Go's zero time, the Unix epoch
// and the like are used for "none".
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
)

const withoutZone = "2006-01-02T15:04:05"

// withoutSeconds maps layouts to the same without seconds.
var withoutSeconds = map[string]string{
	time.RFC3339: "2006-01-02T15:04Z07:00",
	withoutZone:  "2006-01-02T15:04",
}

// parseTime parses the formats that the API is known to use: RFC 3339, the same without
// seconds or without a zone (then it is UTC), and a date without a time, which is 00:00
// UTC of that day.
func parseTime(text string) (t time.Time, dateOnly, ok bool) {
	layout := time.RFC3339
	if date, clock, found := strings.Cut(text, "T"); !found {
		layout, dateOnly = time.DateOnly, true
	} else if len(date) == len(time.DateOnly) {
		zone := strings.IndexAny(clock, "Z+-")
		if zone < 0 {
			layout = withoutZone
		} else {
			clock = clock[:zone]
		}
		if len(clock) <= len("15:04") {
			layout = withoutSeconds[layout]
		}
	}
	t, err := time.Parse(layout, text)
	if err != nil || t.Before(earliest) || t.After(latest) {
		return time.Time{}, false, false
	}
	return t.UTC(), dateOnly, true
}
