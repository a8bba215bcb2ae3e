package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/demo"
)

// The environment that TrueFoundry's own tools read.
const (
	envHost   = "TFY_HOST"
	envAPIKey = "TFY_API_KEY" //nolint:gosec // the name of a variable
)

const (
	flagTarget      = "truefoundry.target"
	flagURL         = "truefoundry.url"
	flagAPIKeyFile  = "truefoundry.api-key-file"  //nolint:gosec // the name of a flag
	flagAPIKeyToken = "truefoundry.api-key-token" //nolint:gosec // the name of a flag
	flagAPIPrefix   = "truefoundry.api-prefix"
	flagKind        = "truefoundry.kind"
)

// maxTimeout is longer than any scrape, and far from what time.Duration can hold.
const maxTimeout = 24 * time.Hour

type flags struct {
	web                    *web.FlagConfig
	telemetryPath          *string
	maxRequests            *number
	disableExporterMetrics *bool
	enableLifecycle        *bool

	configFile  *string
	configCheck *bool

	demo           *bool
	targetName     *string
	url            *string
	apiKeyFile     *string
	apiKeyToken    *string
	apiPrefix      *string
	apiPrefixSet   bool
	kinds          *[]string
	kindsSet       bool
	creatorLabel   *string
	pageSize       *number
	maxTokens      *number
	maxConcurrency *number
	timeout        *time.Duration
	timeoutOffset  *time.Duration

	logLevel, logFormat *string
}

func addFlags(app *kingpin.Application) *flags {
	f := &flags{web: kingpinflag.AddFlags(app, ":10140"), maxRequests: new(number), pageSize: new(number), maxTokens: new(number), maxConcurrency: new(number)}
	f.telemetryPath = app.Flag("web.telemetry-path", "Path of the metrics; at / there is no landing page.").Default("/metrics").String()
	app.Flag("web.max-requests", "Maximum number of scrapes at the same time; 0 means no limit.").Default("40").SetValue(f.maxRequests)
	f.disableExporterMetrics = app.Flag("web.disable-exporter-metrics", "Leave out the metrics go_*, process_* and promhttp_*.").Bool()
	f.enableLifecycle = app.Flag("web.enable-lifecycle", "Reload --config.file when /-/reload is sent a POST.").Bool()

	f.configFile = app.Flag("config.file", "File of the targets to list, where there are several. SIGHUP reloads it.").String()
	f.configCheck = app.Flag("config.check", "Check the configuration and the files that it names, and exit.").Bool()

	f.demo = app.Flag("demo", "Export made-up control planes that run inside the exporter, to see what it does.").Bool()
	f.targetName = app.Flag(flagTarget, "Name of the target, as it stands in the label target. Default: the host of its URL.").String()
	f.url = app.Flag(flagURL, "URL of the control plane, as in https://example.truefoundry.cloud. Default: the environment's "+envHost+".").String()
	f.apiKeyFile = app.Flag(flagAPIKeyFile, "File that holds the API key, read anew for each listing. Default: the key itself is the environment's "+envAPIKey+".").String()
	f.apiPrefix = app.Flag(flagAPIPrefix, "Path of the API below the URL; empty for a control plane that is asked inside its cluster.").Default(client.DefaultAPIPrefix).IsSetByUser(&f.apiPrefixSet).String()
	f.kinds = app.Flag(flagKind, "Kind of token to list: "+config.KindNames()+". Repeatable.").
		Default(string(client.PersonalAccessToken)).IsSetByUser(&f.kindsSet).Strings()
	f.apiKeyToken = app.Flag(flagAPIKeyToken, "Name of the listed token that the API key belongs to, to tell when a key ends that does not say so itself.").String()
	f.creatorLabel = app.Flag("truefoundry.creator-label", "What the label creator holds: slug (a user's e-mail address) or id.").
		Default(string(collector.CreatorSlug)).Enum(string(collector.CreatorSlug), string(collector.CreatorID))
	app.Flag("truefoundry.page-size", fmt.Sprintf("Number of tokens to ask for at a time, 1 to %d.", client.MaxPageSize)).Default("1000").SetValue(f.pageSize)
	app.Flag("truefoundry.max-tokens", "Maximum number of tokens in a listing; a longer one fails.").Default(strconv.Itoa(client.DefaultMaxTokens)).SetValue(f.maxTokens)
	app.Flag("truefoundry.max-concurrency", "Maximum number of requests to a control plane at the same time.").Default("4").SetValue(f.maxConcurrency)
	f.timeout = app.Flag("truefoundry.timeout", "The longest that the listings of a scrape may take, and that the scraper may take to read the answer.").Default("60s").Duration()
	f.timeoutOffset = app.Flag("truefoundry.timeout-offset", "Subtracted from the scraper's timeout, to answer before it gives up; at most half of that timeout.").Default("500ms").Duration()

	f.logLevel = app.Flag("log.level", "Least severe level that is logged: debug, info, warn or error.").Default("info").Enum("debug", "info", "warn", "error")
	f.logFormat = app.Flag("log.format", "Format of the log: logfmt or json.").Default(formatLogfmt).Enum(formatLogfmt, formatJSON)
	return f
}

// number is the value of a flag. Kingpin's own takes fractions, and drops them.
type number int

// Set implements kingpin.Value.
func (n *number) Set(text string) error {
	i, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("must be a whole number, not %q", text)
	}
	*n = number(i)
	return nil
}

// String implements kingpin.Value.
func (n *number) String() string { return strconv.Itoa(int(*n)) }

// nameFlag adds to an error of parsing args the flag that it is about, which
// kingpin leaves out where a value does not fit.
func nameFlag(app *kingpin.Application, args []string, err error) error {
	if strings.HasPrefix(err.Error(), "unexpected ") {
		return errors.New("there is an argument that is no flag") // which may be a key
	}
	parsed, parseErr := app.ParseContext(args)
	if parseErr != nil {
		return err
	}
	for _, element := range parsed.Elements {
		if flag, ok := element.Clause.(*kingpin.FlagClause); ok && element.Value != nil && flag.Model().Value.Set(*element.Value) != nil {
			return fmt.Errorf("--%s: %w", flag.Model().Name, err)
		}
	}
	return err
}

// check refuses what the flags' types let through.
func (f *flags) check() error {
	switch {
	case *f.maxRequests < 0:
		return errors.New("--web.max-requests must not be negative")
	case *f.pageSize < 1 || *f.pageSize > client.MaxPageSize:
		return fmt.Errorf("--truefoundry.page-size must be 1 to %d", client.MaxPageSize)
	case *f.maxTokens < 1:
		return errors.New("--truefoundry.max-tokens must be at least 1")
	case *f.maxConcurrency < 1:
		return errors.New("--truefoundry.max-concurrency must be at least 1")
	case *f.timeout <= 0:
		return errors.New("--truefoundry.timeout must be more than 0")
	case *f.timeout > maxTimeout:
		return fmt.Errorf("--truefoundry.timeout must be at most %v", maxTimeout)
	case *f.timeoutOffset < 0:
		return errors.New("--truefoundry.timeout-offset must not be negative")
	case *f.configFile != "" && *f.demo:
		return errors.New("--config.file and --demo each bring their own targets: leave out one of them")
	case *f.configCheck && *f.demo:
		return errors.New("--config.check has nothing to check of --demo: leave out one of them")
	case *f.configFile == "" && *f.enableLifecycle:
		return errors.New("--web.enable-lifecycle needs --config.file: there is nothing else to reload")
	}
	if set := f.targetFlags(); len(set) > 0 {
		set := strings.Join(set, ", --")
		switch {
		case *f.demo:
			return fmt.Errorf("--demo brings its own targets: leave out --%s", set)
		case *f.configFile != "":
			return fmt.Errorf("--config.file brings its own targets: leave out --%s", set)
		}
	}
	for _, address := range *f.web.WebListenAddresses {
		if _, _, err := net.SplitHostPort(address); err != nil && !strings.HasPrefix(address, "vsock://") {
			return fmt.Errorf("--web.listen-address: %w", err)
		}
	}
	if err := web.Validate(*f.web.WebConfigFile); err != nil {
		return fmt.Errorf("--web.config.file: %w", err)
	}
	return nil
}

// notice is what a visitor of the landing page has to know.
func (f *flags) notice() string {
	if !*f.demo {
		return ""
	}
	return "This is a demonstration: the control planes and their tokens are made up, and one of the targets does not work."
}

// targetFlags returns the names of the flags that describe a target and were set.
func (f *flags) targetFlags() []string {
	var set []string
	for name, isSet := range map[string]bool{
		flagTarget:      *f.targetName != "",
		flagURL:         *f.url != "",
		flagAPIPrefix:   f.apiPrefixSet,
		flagKind:        f.kindsSet,
		flagAPIKeyFile:  *f.apiKeyFile != "",
		flagAPIKeyToken: *f.apiKeyToken != "",
	} {
		if isSet {
			set = append(set, name)
		}
	}
	slices.Sort(set)
	return set
}

// targets returns the targets of the file, the demonstration, or the flags and
// the environment. What it started ends with the function that it returns.
func (f *flags) targets(logger log.Logger) (list []config.Target, end func(), err error) {
	end = func() {}
	switch {
	case *f.configFile != "":
		ignoreEnvironment(logger, "--config.file")
		list, err = config.Load(*f.configFile)
	case *f.demo:
		ignoreEnvironment(logger, "--demo")
		list, end, err = demo.Start()
	default:
		var target config.Target
		target, err = f.target()
		list = []config.Target{target}
	}
	return list, end, err
}

// ignoreEnvironment says that a variable is not used, since that may be a surprise.
func ignoreEnvironment(logger log.Logger, because string) {
	for _, env := range []string{envHost, envAPIKey} {
		if os.Getenv(env) != "" {
			level.Warn(logger).Log("msg", "ignored because of "+because, "env", env)
		}
	}
}

// target is the one target that the flags and the environment describe.
func (f *flags) target() (target config.Target, err error) {
	credentials, err := f.credentials()
	if err != nil {
		return target, err
	}
	address, from := *f.url, "--"+flagURL
	if address == "" {
		address, from = strings.TrimSpace(os.Getenv(envHost)), envHost
	}
	if address == "" {
		return target, fmt.Errorf("which control plane? set --%s or %s, or try --demo", flagURL, envHost)
	}
	u, err := client.ParseURL(address)
	if err != nil {
		return target, fmt.Errorf("%s: %w", from, err)
	}
	prefix, err := client.ParseAPIPrefix(*f.apiPrefix)
	if err != nil {
		return target, fmt.Errorf("--%s: %w", flagAPIPrefix, err)
	}
	if err := config.CheckURL(u, prefix); err != nil {
		return target, fmt.Errorf("%s: %w", from, err)
	}
	if err := config.CheckName(*f.targetName); err != nil {
		return target, fmt.Errorf("--%s: %w", flagTarget, err)
	}
	var kinds []client.Kind
	for _, kind := range *f.kinds {
		kinds = append(kinds, client.Kind(kind))
	}
	if err := config.CheckKinds(kinds); err != nil {
		return target, fmt.Errorf("--%s: %w", flagKind, err)
	}
	target = config.Target{
		Name: cmp.Or(*f.targetName, u.Host), URL: u, APIPrefix: prefix, Kinds: kinds, Credentials: credentials, APIKeyToken: *f.apiKeyToken, HTTP: config.DefaultHTTP(),
	}
	return target, config.CheckProxy(&target)
}

// credentials returns where the API key comes from.
func (f *flags) credentials() (credentials config.Credentials, err error) {
	if *f.apiKeyFile != "" {
		if err := config.CheckKeyFile(*f.apiKeyFile); err != nil {
			return credentials, fmt.Errorf("--%s: %w", flagAPIKeyFile, err)
		}
		return config.Credentials{KeyFile: *f.apiKeyFile}, nil
	}
	key := strings.TrimSpace(os.Getenv(envAPIKey))
	if key == "" {
		return credentials, fmt.Errorf("no API key: set --%s or %s (or --config.file, or --demo)", flagAPIKeyFile, envAPIKey)
	}
	if err := client.CheckKey(key); err != nil {
		return credentials, fmt.Errorf("%s: %w", envAPIKey, err)
	}
	return config.Credentials{Key: commoncfg.Secret(key), KeySource: envAPIKey}, nil
}
