package stack

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"
)

// durations matches the intervals and windows of rules, and numbers those that are numbers of
// seconds or minutes because they are compared with timestamps. Thresholds do not match.
var (
	durations = regexp.MustCompile(`(interval: |for: |offset |\[)(\d+)([smhd])\b`)
	numbers   = regexp.MustCompile(`( offset [^)]*\) - |> )(\d+)( \* 60)?(\)|\n)`)
	units     = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
)

// SpeedUp copies a file of rules, with all intervals and windows divided by factor.
func SpeedUp(from, to string, factor int) error {
	text, err := os.ReadFile(from) //nolint:gosec // a file of this repository
	if err != nil {
		return err
	}
	for _, pattern := range []*regexp.Regexp{numbers, durations} {
		if !pattern.Match(text) {
			return fmt.Errorf("%s has no %s", from, pattern)
		}
	}
	text = numbers.ReplaceAllFunc(text, func(found []byte) []byte {
		part := numbers.FindSubmatch(found)
		n, _ := strconv.ParseFloat(string(part[2]), 64) // digits
		return fmt.Appendf(nil, "%s%g%s%s", part[1], n/float64(factor), part[3], part[4])
	})
	text = durations.ReplaceAllFunc(text, func(found []byte) []byte {
		part := durations.FindSubmatch(found)
		n, _ := strconv.Atoi(string(part[2])) // digits
		shorter := time.Duration(n) * units[string(part[3])] / time.Duration(factor)
		return fmt.Appendf(nil, "%s%dms", part[1], shorter.Milliseconds())
	})
	return os.WriteFile(to, text, 0o600) //nolint:gosec // the path is from the test
}
