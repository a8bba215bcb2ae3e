package server

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
)

var (
	//go:embed targets.html
	targetsHTML string
	//go:embed targets.css
	targetsCSS string

	targetsTemplate = template.Must(template.New("targets").Parse(targetsHTML))
)

// linkPrefix makes links relative to the landing page, so that they work behind a reverse
// proxy with any path.
const linkPrefix = "./"

// landing returns the handler of the landing page.
func (cfg *Config) landing() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, err := cfg.landingPage()
		if err != nil {
			level.Error(cfg.Logger).Log("msg", "the landing page cannot be rendered", "err", err)
			http.Error(w, "The landing page cannot be rendered; see the log.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		// The page only responds to its RoutePrefix.
		r = r.Clone(r.Context())
		r.URL.Path = linkPrefix
		page.ServeHTTP(w, r)
	})
}

// landingPage renders the landing page with the status of the targets.
func (cfg *Config) landingPage() (http.Handler, error) {
	var targets bytes.Buffer
	if err := targetsTemplate.Execute(&targets, cfg.overview()); err != nil {
		return nil, err
	}
	// The toolkit does not escape values. It replaces the first slash of each link by
	// RoutePrefix.
	return web.NewLandingPage(web.LandingConfig{
		Name:        "truefoundry_exporter",
		Description: html.EscapeString(cfg.Description),
		Version:     html.EscapeString(version.Info()),
		ExtraHTML:   targets.String(),
		ExtraCSS:    targetsCSS,
		Profiling:   "false",
		RoutePrefix: linkPrefix,
		Links: []web.LandingLinks{
			{Address: html.EscapeString(cfg.TelemetryPath), Text: "Metrics", Description: "lists the tokens at each request"},
			{Address: healthyPath, Text: "Healthy", Description: "liveness probe"},
			{Address: readyPath, Text: "Ready", Description: "readiness probe"},
		},
	})
}

// MetricsLink returns the relative URL of the metrics.
func (o overview) MetricsLink() string { return linkPrefix + strings.TrimPrefix(o.TelemetryPath, "/") }

// overview is the data of the template.
type overview struct {
	Notice        string // may be empty
	TelemetryPath string
	ReloadPath    string // empty if reloading by HTTP is disabled
	Reloadable    bool
	ReloadFailure error
	ReloadTime    *relativeTime // of the last attempt
	Summary       string
	Targets       []targetView // the most urgent ones first
	Unscraped     bool         // whether any target has not been scraped yet
	Now           relativeTime
}

func (cfg *Config) overview() overview {
	now := cfg.Now()
	o := overview{Notice: cfg.Notice, TelemetryPath: cfg.TelemetryPath, Now: relativeTime{At: now.UTC()}}
	if cfg.EnableLifecycle && cfg.Reload != nil {
		o.ReloadPath = reloadPath
	}
	if cfg.ReloadFailure != nil {
		reloaded, err := cfg.ReloadFailure()
		o.Reloadable, o.ReloadFailure, o.ReloadTime = true, err, newRelativeTime(reloaded, now)
	}
	for _, status := range cfg.Collector.Status() {
		o.Targets = append(o.Targets, newTargetView(status, now))
	}
	slices.SortStableFunc(o.Targets, func(a, b targetView) int { return cmp.Compare(a.State.urgency(), b.State.urgency()) })
	o.Unscraped = slices.ContainsFunc(o.Targets, func(t targetView) bool { return t.State == unscraped })
	o.Summary = summary(o.Targets)
	return o
}

// state is the state of a target or of a listing.
type state string

const (
	fails     state = "fails"           // the last attempt of a listing failed
	unscraped state = "not scraped yet" // a listing has not been tried, and none failed
	works     state = "works"           // the last attempts of all listings succeeded
)

// urgency returns the rank of the state. The lowest is the most urgent.
func (s state) urgency() int { return slices.Index([]state{fails, unscraped, works}, s) }

// summary returns how many targets are in which state.
func summary(targets []targetView) string {
	count := map[state]int{}
	for _, t := range targets {
		count[t.State]++
	}
	total := len(targets)
	switch total {
	case 0:
		return "There are no targets."
	case count[unscraped]:
		return "Nothing has been scraped yet."
	case 1:
		return "The target " + string(targets[0].State) + "."
	case count[works]:
		return fmt.Sprintf("All %d targets work.", total)
	}
	text := fmt.Sprintf("%d of %d targets %s.", count[works], total, plural(count[works], "works", "work"))
	if n := count[fails]; n > 0 {
		text += fmt.Sprintf(" %d %s.", n, plural(n, "fails", "fail"))
	}
	if n := count[unscraped]; n > 0 {
		text += fmt.Sprintf(" %d %s not scraped yet.", n, plural(n, "is", "are"))
	}
	return text
}

// targetView is the status of a target for the template.
type targetView struct {
	collector.TargetStatus
	State state
	Views []listingView // one for each of the Listings
	Rows  int           // the number of rows in the table
}

func newTargetView(status collector.TargetStatus, now time.Time) targetView {
	t := targetView{TargetStatus: status, State: works}
	for _, l := range status.Listings {
		v := listingView{l, now}
		t.Views = append(t.Views, v)
		t.Rows++
		if v.HasNote() {
			t.Rows++
		}
		if s := v.state(); s.urgency() < t.State.urgency() {
			t.State = s
		}
	}
	return t
}

// listingView is the status of a listing for the template. Its moments may be nil.
type listingView struct {
	collector.ListingStatus
	now time.Time
}

func (l listingView) state() state {
	switch {
	case l.Failing:
		return fails
	case l.LastSuccess.IsZero():
		return unscraped
	}
	return works
}

// Listed returns when the listing last succeeded.
func (l listingView) Listed() *relativeTime { return newRelativeTime(l.LastSuccess, l.now) }

// Failed returns when the listing last failed.
func (l listingView) Failed() *relativeTime { return newRelativeTime(l.LastFailure, l.now) }

// NextExpiryTime returns when the next token expires.
func (l listingView) NextExpiryTime() *relativeTime { return newRelativeTime(l.NextExpiry, l.now) }

// Empty reports whether the listing works but lists no tokens.
func (l listingView) Empty() bool { return l.state() == works && l.Tokens == 0 }

// HelpURL returns the URL of the documentation of the last failure.
func (l listingView) HelpURL() string { return collector.HelpURL(l.Failure.Reason) }

// Recovered reports whether the listing works, but failed in the last 24 hours.
func (l listingView) Recovered() bool {
	return !l.Failing && l.Failure != nil && l.now.Sub(l.LastFailure) < 24*time.Hour
}

// HasNote reports whether there is a note about the listing.
func (l listingView) HasNote() bool { return l.Failing || l.Recovered() || l.Empty() }

// whyEmpty explains why a listing that works may list no tokens, and what to do.
var whyEmpty = map[client.Kind]string{
	client.PersonalAccessToken: "the API lists only the tokens that the owner of the key has created. " +
		"The key of a virtual account, which has created none, lists nothing: use the key of the person who owns the tokens, " +
		"or list the kind " + string(client.VirtualAccount) + ".",
	client.VirtualAccount: "the owner of the key may not see any. The key of an admin sees all of the tenant’s.",
}

// WhyEmpty explains an Empty listing.
func (l listingView) WhyEmpty() string { return whyEmpty[l.Kind] }

// TokenCount returns the kind of the tokens, with their numbers if they have been listed.
func (l listingView) TokenCount() string {
	one := strings.ReplaceAll(string(l.Kind), "-", " ")
	if l.LastSuccess.IsZero() {
		return one + "s"
	}
	text := fmt.Sprintf("%d %s", l.Tokens, plural(l.Tokens, one, one+"s"))
	if l.Expired > 0 {
		text += fmt.Sprintf(", %d expired", l.Expired)
	}
	return text
}

// plural returns one if n is 1, and many otherwise.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// relativeTime is a time in UTC, with its distance from now in words.
type relativeTime struct {
	At    time.Time
	Words string
}

// Exact returns the time in a readable format.
func (m relativeTime) Exact() string { return m.At.Format("2006-01-02 15:04:05 UTC") }

// newRelativeTime returns the relativeTime of t, or nil if t is zero.
func newRelativeTime(t, now time.Time) *relativeTime {
	if t.IsZero() {
		return nil
	}
	return &relativeTime{t.UTC(), distance(t, now)}
}

var units = []struct {
	name    string
	seconds int64
}{
	{"year", 31556952}, // on average
	{"day", 24 * 3600},
	{"hour", 3600},
	{"minute", 60},
	{"second", 1},
}

// distance returns the distance between t and now in the largest unit of which there are
// at least two, to limit the rounding error. A time.Duration would overflow for a token
// that expires in the year 9999.
func distance(t, now time.Time) string {
	seconds := t.Unix() - now.Unix()
	format := "in %d %s"
	if seconds < 0 {
		seconds, format = -seconds, "%d %s ago"
	}
	for _, unit := range units {
		if n := seconds / unit.seconds; n >= 2 || n == 1 && unit.seconds == 1 {
			return fmt.Sprintf(format, n, plural(int(n), unit.name, unit.name+"s"))
		}
	}
	return "now"
}
