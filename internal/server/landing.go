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

// linkPrefix makes the links relative to the landing page, so that they work below
// any path of a reverse proxy.
const linkPrefix = "./"

// landing tells whether the targets work, by what the scrapes so far have found.
func (cfg *Config) landing() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, err := cfg.landingPage()
		if err != nil {
			level.Error(cfg.Logger).Log("msg", "the landing page could not be made", "err", err)
			http.Error(w, "The landing page could not be made; the log tells why.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		// The toolkit serves its RoutePrefix alone, and here that is where links begin.
		r = r.Clone(r.Context())
		r.URL.Path = linkPrefix
		page.ServeHTTP(w, r)
	})
}

func (cfg *Config) landingPage() (http.Handler, error) {
	var targets bytes.Buffer
	if err := targetsTemplate.Execute(&targets, cfg.overview()); err != nil {
		return nil, err
	}
	// The toolkit escapes nothing, and puts RoutePrefix in place of the first slash of
	// each link.
	return web.NewLandingPage(web.LandingConfig{
		Name:        "truefoundry_exporter",
		Description: html.EscapeString(cfg.Description),
		Version:     html.EscapeString(version.Info()),
		ExtraHTML:   targets.String(),
		ExtraCSS:    targetsCSS,
		Profiling:   "false",
		RoutePrefix: linkPrefix,
		Links: []web.LandingLinks{
			{Address: html.EscapeString(cfg.TelemetryPath), Text: "Metrics", Description: "asks the control planes at each request"},
			{Address: healthyPath, Text: "Healthy", Description: "liveness; asks nobody"},
			{Address: readyPath, Text: "Ready", Description: "readiness; asks nobody"},
		},
	})
}

// MetricsLink is where the metrics are, seen from the landing page.
func (o overview) MetricsLink() string { return linkPrefix + strings.TrimPrefix(o.TelemetryPath, "/") }

// overview is what the template is given.
type overview struct {
	Notice, TelemetryPath, ReloadPath string // without a Notice or a ReloadPath, empty
	Reloadable                        bool
	ReloadFailure                     error
	ReloadTried                       *moment
	Summary                           string
	Targets                           []targetView // those that need somebody first
	Unscraped                         bool         // at least one target is
	Now                               moment
}

func (cfg *Config) overview() overview {
	now := cfg.Now()
	o := overview{Notice: cfg.Notice, TelemetryPath: cfg.TelemetryPath, Now: moment{At: now.UTC()}}
	if cfg.EnableLifecycle && cfg.Reload != nil {
		o.ReloadPath = reloadPath
	}
	if cfg.ReloadFailure != nil {
		tried, err := cfg.ReloadFailure()
		o.Reloadable, o.ReloadFailure, o.ReloadTried = true, err, at(tried, now)
	}
	for _, status := range cfg.Collector.Status() {
		o.Targets = append(o.Targets, view(status, now))
	}
	slices.SortStableFunc(o.Targets, func(a, b targetView) int { return cmp.Compare(a.State.urgency(), b.State.urgency()) })
	o.Unscraped = slices.ContainsFunc(o.Targets, func(t targetView) bool { return t.State == unscraped })
	o.Summary = summary(o.Targets)
	return o
}

// state is what is known of a target, in words.
type state string

const (
	fails     state = "fails"           // a listing failed when it was last tried
	unscraped state = "not scraped yet" // a listing was not tried so far, and none failed
	works     state = "works"           // all listings succeeded when they were last tried
)

func (s state) urgency() int { return slices.Index([]state{fails, unscraped, works}, s) }

// summary answers first of all what somebody opens the page for.
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
	text := fmt.Sprintf("%d of %d targets %s.", count[works], total, choose(count[works], "works", "work"))
	if n := count[fails]; n > 0 {
		text += fmt.Sprintf(" %d %s.", n, choose(n, "fails", "fail"))
	}
	if n := count[unscraped]; n > 0 {
		text += fmt.Sprintf(" %d %s not scraped yet.", n, choose(n, "is", "are"))
	}
	return text
}

// targetView is a target as the template shows it.
type targetView struct {
	collector.TargetStatus
	State state
	Views []listingView // of the Listings
	Rows  int           // how many rows of the table it takes
}

func view(status collector.TargetStatus, now time.Time) targetView {
	t := targetView{TargetStatus: status, State: works}
	for _, l := range status.Listings {
		v := listingView{l, now}
		t.Views = append(t.Views, v)
		t.Rows++
		if v.Noteworthy() {
			t.Rows++
		}
		if s := v.state(); s.urgency() < t.State.urgency() {
			t.State = s
		}
	}
	return t
}

// listingView is a listing as the template shows it. A moment that never was is
// nil.
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

// Listed is when the listing last succeeded.
func (l listingView) Listed() *moment { return at(l.LastSuccess, l.now) }

// Failed is when the listing last failed.
func (l listingView) Failed() *moment { return at(l.LastFailure, l.now) }

// Ends is when the first of the tokens ends that had not.
func (l listingView) Ends() *moment { return at(l.NextExpiry, l.now) }

// Empty tells whether the listing works and finds nothing.
func (l listingView) Empty() bool { return l.state() == works && l.Tokens == 0 }

// HelpURL is where the last failure is explained.
func (l listingView) HelpURL() string { return collector.HelpURL(l.Failure.Reason) }

// Recovered tells whether the listing works, but did not lately.
func (l listingView) Recovered() bool {
	const lately = 24 * time.Hour
	return !l.Failing && l.Failure != nil && l.now.Sub(l.LastFailure) < lately
}

// Noteworthy tells whether there is more to say than numbers.
func (l listingView) Noteworthy() bool { return l.Failing || l.Recovered() || l.Empty() }

// whyEmpty is why a listing that works most likely lists nothing, and what to do.
var whyEmpty = map[client.Kind]string{
	client.PersonalAccessToken: "the API lists only the tokens that the owner of the key has created. " +
		"The key of a virtual account, which has created none, lists nothing: use the key of the person who owns the tokens, " +
		"or list the kind " + string(client.VirtualAccount) + ".",
	client.VirtualAccount: "the owner of the key may not see any. The key of an admin sees all of the tenant’s.",
}

// WhyEmpty explains a listing that is Empty.
func (l listingView) WhyEmpty() string { return whyEmpty[l.Kind] }

// What names the tokens, with their number if it is known.
func (l listingView) What() string {
	one := strings.ReplaceAll(string(l.Kind), "-", " ")
	many := one + "s"
	if l.LastSuccess.IsZero() {
		return many
	}
	text := fmt.Sprintf("%d %s", l.Tokens, choose(l.Tokens, one, many))
	if l.Expired > 0 {
		text += fmt.Sprintf(", %d expired", l.Expired)
	}
	return text
}

func choose(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// moment is a time in UTC, and how far away it is.
type moment struct {
	At    time.Time
	Words string
}

// Exact is the time for a person.
func (m moment) Exact() string { return m.At.Format("2006-01-02 15:04:05 UTC") }

func at(t, now time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	return &moment{t.UTC(), distance(t, now)}
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

// distance tells how far t is from now, in the largest unit of which there are
// two, so that little is lost by rounding down. A time.Duration would be too
// short for a token that ends in the year 9999.
func distance(t, now time.Time) string {
	seconds := t.Unix() - now.Unix()
	format := "in %d %s"
	if seconds < 0 {
		seconds, format = -seconds, "%d %s ago"
	}
	for _, unit := range units {
		if n := seconds / unit.seconds; n >= 2 || n == 1 && unit.seconds == 1 {
			return fmt.Sprintf(format, n, choose(int(n), unit.name, unit.name+"s"))
		}
	}
	return "now"
}
