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

// Environment variables that TrueFoundry's own tools use, too.
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

// maxTimeout is longer than any scrape and far from overflowing a time.Duration.
const maxTimeout = 24 * time.Hour

// flags holds the values of the command-line flags.
type flags struct {
	web                    *web.FlagConfig
	telemetryPath          string
	maxRequests            int
	disableExporterMetrics bool
	enableLifecycle        bool

	configFile  string
	configCheck bool
	once        bool
	onceShape   bool
	demo        bool

	targetName   string
	url          string
	apiKeyFile   string
	apiKeyToken  string
	apiPrefix    string
	apiPrefixSet bool
	kinds        []string
	kindsSet     bool

	creatorLabel   string
	pageSize       int
	maxTokens      int
	maxConcurrency int
	timeout        time.Duration
	timeoutOffset  time.Duration

	logLevel    string
	logLevelSet bool
	logFormat   string
}

func addFlags(app *kingpin.Application) *flags {
	f := &flags{web: kingpinflag.AddFlags(app, ":10140")}
	app.Flag("web.telemetry-path", "Path under which to expose metrics. At /, there is no landing page.").Default("/metrics").StringVar(&f.telemetryPath)
	app.Flag("web.max-requests", "Maximum number of concurrent scrapes. 0 means no limit.").Default("40").SetValue((*intValue)(&f.maxRequests))
	app.Flag("web.disable-exporter-metrics", "Exclude metrics about the exporter itself (go_*, process_* and promhttp_*).").BoolVar(&f.disableExporterMetrics)
	app.Flag("web.enable-lifecycle", "Reload --config.file on a POST request to /-/reload.").BoolVar(&f.enableLifecycle)

	app.Flag("config.file", "Configuration file of the targets. It is reloaded on SIGHUP.").StringVar(&f.configFile)
	app.Flag("config.check", "Check the configuration and the files that it names, and exit.").BoolVar(&f.configCheck)

	app.Flag("once", "Scrape once, write the metrics to standard output and a line for each target to standard error, and exit with 0 if every target was listed, and with 1 otherwise.").BoolVar(&f.once)
	app.Flag("once.shape", "Like --once, but write the structure of each response without its values, for bug reports.").BoolVar(&f.onceShape)

	app.Flag("demo", "Export fake control planes that run inside the exporter.").BoolVar(&f.demo)
	app.Flag(flagTarget, "Name of the target, which is the value of the target label. Default: the host of its URL.").StringVar(&f.targetName)
	app.Flag(flagURL, "URL of the control plane, like https://example.truefoundry.cloud. Default: the environment variable "+envHost+".").StringVar(&f.url)
	app.Flag(flagAPIKeyFile, "File that contains the API key. It is read for each listing. Default: the key in the environment variable "+envAPIKey+".").StringVar(&f.apiKeyFile)
	app.Flag(flagAPIPrefix, "Path of the API below the URL. Empty to access a control plane from inside its cluster.").
		Default(client.DefaultAPIPrefix).IsSetByUser(&f.apiPrefixSet).StringVar(&f.apiPrefix)
	app.Flag(flagKind, "Kind of token to list: "+config.KindNames()+". Repeatable.").
		Default(string(client.PersonalAccessToken)).IsSetByUser(&f.kindsSet).StringsVar(&f.kinds)
	app.Flag(flagAPIKeyToken, "Name of the listed token that the API key belongs to. Its expiry is used if the key does not contain one.").StringVar(&f.apiKeyToken)
	app.Flag("truefoundry.creator-label", "Value of the creator label: slug (the e-mail address of a user) or id.").
		Default(string(collector.CreatorSlug)).EnumVar(&f.creatorLabel, string(collector.CreatorSlug), string(collector.CreatorID))
	app.Flag("truefoundry.page-size", fmt.Sprintf("Number of tokens to request per page, 1 to %d.", client.MaxPageSize)).Default("1000").SetValue((*intValue)(&f.pageSize))
	app.Flag("truefoundry.max-tokens", "Maximum number of tokens in a listing. Longer listings fail.").Default(strconv.Itoa(client.DefaultMaxTokens)).SetValue((*intValue)(&f.maxTokens))
	app.Flag("truefoundry.max-concurrency", "Maximum number of concurrent requests to a control plane.").Default("4").SetValue((*intValue)(&f.maxConcurrency))
	app.Flag("truefoundry.timeout", "Maximum duration of the listings of a scrape, and of sending the response to the scraper.").Default("60s").DurationVar(&f.timeout)
	app.Flag("truefoundry.timeout-offset", "Offset to subtract from the timeout of the scraper, at most half of that timeout.").Default("500ms").DurationVar(&f.timeoutOffset)

	app.Flag("log.level", "Only log messages with the given severity or above: debug, info, warn or error. With --once, nothing is logged unless this is set.").
		Default("info").IsSetByUser(&f.logLevelSet).EnumVar(&f.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Output format of log messages: logfmt or json.").Default(formatLogfmt).EnumVar(&f.logFormat, formatLogfmt, formatJSON)
	return f
}

// intValue is the value of an integer flag. Kingpin's own accepts fractions and
// truncates them.
type intValue int

// Set implements kingpin.Value.
func (v *intValue) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("must be a whole number, not %q", text)
	}
	*v = intValue(n)
	return nil
}

// String implements kingpin.Value.
func (v *intValue) String() string { return strconv.Itoa(int(*v)) }

// parse parses and validates the arguments.
func (f *flags) parse(app *kingpin.Application, args []string) error {
	if _, err := app.Parse(args); err != nil {
		return fmt.Errorf("%w, try --help", parseError(app, args, err))
	}
	return f.validate()
}

// parseError adds the name of the flag to an error about its value, which kingpin
// does not do.
func parseError(app *kingpin.Application, args []string, err error) error {
	if strings.HasPrefix(err.Error(), "unexpected ") {
		return errors.New("unexpected argument that is not a flag") // the argument may be a key
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

// validate returns an error if a value is out of range or flags contradict each other.
func (f *flags) validate() error {
	switch {
	case f.maxRequests < 0:
		return errors.New("--web.max-requests must not be negative")
	case f.pageSize < 1 || f.pageSize > client.MaxPageSize:
		return fmt.Errorf("--truefoundry.page-size must be 1 to %d", client.MaxPageSize)
	case f.maxTokens < 1:
		return errors.New("--truefoundry.max-tokens must be at least 1")
	case f.maxConcurrency < 1:
		return errors.New("--truefoundry.max-concurrency must be at least 1")
	case f.timeout <= 0:
		return errors.New("--truefoundry.timeout must be more than 0")
	case f.timeout > maxTimeout:
		return fmt.Errorf("--truefoundry.timeout must be at most %v", maxTimeout)
	case f.timeoutOffset < 0:
		return errors.New("--truefoundry.timeout-offset must not be negative")
	case f.configFile != "" && f.demo:
		return errors.New("--config.file and --demo each bring their own targets: leave out one of them")
	case f.configCheck && f.demo:
		return errors.New("--config.check has nothing to check of --demo: leave out one of them")
	case f.configCheck && f.isOnce():
		return errors.New("--config.check sends nothing, and --once does: leave out one of them")
	case f.configFile == "" && f.enableLifecycle:
		return errors.New("--web.enable-lifecycle needs --config.file: there is nothing else to reload")
	}
	if set := strings.Join(f.targetFlags(), ", --"); set != "" {
		switch {
		case f.demo:
			return fmt.Errorf("--demo brings its own targets: leave out --%s", set)
		case f.configFile != "":
			return fmt.Errorf("--config.file brings its own targets: leave out --%s", set)
		}
	}
	return f.validateWeb()
}

// validateWeb returns an error for what the exporter-toolkit would only report after
// the start, or does not report.
func (f *flags) validateWeb() error {
	for _, address := range *f.web.WebListenAddresses {
		if strings.HasPrefix(address, "unix:") {
			return errors.New("--web.listen-address: Unix sockets are not supported: listen on loopback, as in 127.0.0.1:10140, " +
				"or have systemd open the socket and use --web.systemd-socket")
		}
		if _, _, err := net.SplitHostPort(address); err != nil && !strings.HasPrefix(address, "vsock://") {
			return fmt.Errorf("--web.listen-address: %w", err)
		}
	}
	if err := web.Validate(*f.web.WebConfigFile); err != nil {
		return fmt.Errorf("--web.config.file: %w", err)
	}
	return nil
}

// isOnce reports whether the exporter exits after one scrape.
func (f *flags) isOnce() bool { return f.once || f.onceShape }

// targetFlags returns the names of the flags that describe a target and are set.
func (f *flags) targetFlags() []string {
	var set []string
	for name, isSet := range map[string]bool{
		flagTarget:      f.targetName != "",
		flagURL:         f.url != "",
		flagAPIPrefix:   f.apiPrefixSet,
		flagKind:        f.kindsSet,
		flagAPIKeyFile:  f.apiKeyFile != "",
		flagAPIKeyToken: f.apiKeyToken != "",
	} {
		if isSet {
			set = append(set, name)
		}
	}
	slices.Sort(set)
	return set
}

// targets returns the targets of the configuration file, of the demo, or of the flags
// and the environment. The caller must call stop in the end.
func (f *flags) targets(logger log.Logger) (targets []config.Target, stop func(), err error) {
	stop = func() {}
	switch {
	case f.configFile != "":
		warnOfEnvironment(logger, "--config.file")
		targets, err = config.Load(f.configFile)
	case f.demo:
		warnOfEnvironment(logger, "--demo")
		targets, stop, err = demo.Start()
	default:
		var target config.Target
		target, err = f.target()
		targets = []config.Target{target}
	}
	return targets, stop, err
}

// warnOfEnvironment logs that the environment variables are ignored because of a flag.
func warnOfEnvironment(logger log.Logger, flag string) {
	for _, env := range []string{envHost, envAPIKey} {
		if os.Getenv(env) != "" {
			level.Warn(logger).Log("msg", "ignored because of "+flag, "env", env)
		}
	}
}

// target returns the target that the flags and the environment describe.
func (f *flags) target() (config.Target, error) {
	credentials, err := f.credentials()
	if err != nil {
		return config.Target{}, err
	}
	address, source := f.url, "--"+flagURL
	if address == "" {
		address, source = strings.TrimSpace(os.Getenv(envHost)), envHost
	}
	if address == "" {
		return config.Target{}, fmt.Errorf("no control plane: set --%s or %s, or try --demo", flagURL, envHost)
	}
	kinds := make([]client.Kind, len(f.kinds))
	for i, kind := range f.kinds {
		kinds[i] = client.Kind(kind)
	}
	target, err := config.NewTarget(f.targetName, address, f.apiPrefix, kinds)
	if invalid := (*config.FieldError)(nil); errors.As(err, &invalid) {
		sources := map[string]string{"name": "--" + flagTarget, "url": source, "api_prefix": "--" + flagAPIPrefix, "kinds": "--" + flagKind}
		return config.Target{}, fmt.Errorf("%s: %w", sources[invalid.Field], invalid.Err)
	}
	target.Name = cmp.Or(target.Name, target.URL.Host)
	target.Credentials, target.APIKeyToken = credentials, f.apiKeyToken
	return target, config.CheckProxy(&target)
}

// credentials returns the API key, or the file that contains it.
func (f *flags) credentials() (config.Credentials, error) {
	if f.apiKeyFile != "" {
		if err := config.CheckKeyFile(f.apiKeyFile); err != nil {
			return config.Credentials{}, fmt.Errorf("--%s: %w", flagAPIKeyFile, err)
		}
		return config.Credentials{KeyFile: f.apiKeyFile}, nil
	}
	key := strings.TrimSpace(os.Getenv(envAPIKey))
	if key == "" {
		return config.Credentials{}, fmt.Errorf("no API key: set --%s or %s (or --config.file, or --demo)", flagAPIKeyFile, envAPIKey)
	}
	if err := client.CheckKey(key); err != nil {
		return config.Credentials{}, fmt.Errorf("%s: %w", envAPIKey, err)
	}
	return config.Credentials{Key: commoncfg.Secret(key), KeySource: envAPIKey}, nil
}
