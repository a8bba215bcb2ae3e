package client

import (
	"strings"
	"time"
)

// earliest and latest limit valid times. Values such as Go's zero time and the Unix epoch
// mean that there is no time.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
)

const withoutZone = "2006-01-02T15:04:05"

// withoutSeconds maps each layout to the same layout without seconds.
var withoutSeconds = map[string]string{
	time.RFC3339: "2006-01-02T15:04Z07:00",
	withoutZone:  "2006-01-02T15:04",
}

// parseTime parses the formats that the API uses: RFC 3339, with or without seconds and
// time zone, and a date without a time, which is parsed as 00:00 of that day. Times
// without a time zone are UTC.
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
