package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/controlplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/demo"
)

// The environment that TrueFoundry's own tools read.
const (
	envHost   = "TFY_HOST"
	envAPIKey = "TFY_API_KEY" //nolint:gosec // the name of a variable
)

const (
	flagURL       = "truefoundry.url"
	flagAPIPrefix = "truefoundry.api-prefix"
)

type flags struct {
	web                    *web.FlagConfig
	telemetryPath          *string
	maxRequests            *number
	disableExporterMetrics *bool

	demo           *bool
	url            *string
	apiKeyFile     *string
	apiPrefix      *string
	apiPrefixSet   bool
	creatorLabel   *string
	pageSize       *number
	maxConcurrency *number
	timeout        *time.Duration
	timeoutOffset  *time.Duration

	logLevel, logFormat *string
}

func addFlags(app *kingpin.Application) *flags {
	f := &flags{web: kingpinflag.AddFlags(app, ":10140"), maxRequests: new(number), pageSize: new(number), maxConcurrency: new(number)}
	f.telemetryPath = app.Flag("web.telemetry-path", "Path of the metrics; at / there is no landing page.").Default("/metrics").String()
	app.Flag("web.max-requests", "Maximum number of scrapes at the same time; 0 means no limit.").Default("40").SetValue(f.maxRequests)
	f.disableExporterMetrics = app.Flag("web.disable-exporter-metrics", "Leave out the metrics go_*, process_* and promhttp_*.").Bool()

	f.demo = app.Flag("demo", "Export a made-up control plane that runs inside the exporter, to see what it does.").Bool()
	f.url = app.Flag(flagURL, "URL of the control plane, as in https://example.truefoundry.cloud. Default: the environment's "+envHost+".").String()
	f.apiKeyFile = app.Flag("truefoundry.api-key-file", "File that holds the API key, read anew for each listing. Default: the key itself is the environment's "+envAPIKey+".").String()
	f.apiPrefix = app.Flag(flagAPIPrefix, "Path of the API below the URL; empty for a control plane that is asked inside its cluster.").Default(client.DefaultAPIPrefix).IsSetByUser(&f.apiPrefixSet).String()
	f.creatorLabel = app.Flag("truefoundry.creator-label", "What the label creator holds: slug (a user's e-mail address) or id.").
		Default(string(collector.CreatorSlug)).Enum(string(collector.CreatorSlug), string(collector.CreatorID))
	app.Flag("truefoundry.page-size", fmt.Sprintf("Number of tokens to ask for at a time, 1 to %d.", client.MaxPageSize)).Default("1000").SetValue(f.pageSize)
	app.Flag("truefoundry.max-concurrency", "Maximum number of requests to a control plane at the same time.").Default("4").SetValue(f.maxConcurrency)
	f.timeout = app.Flag("truefoundry.timeout", "The longest that the listings of a scrape may take.").Default("60s").Duration()
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
	case *f.maxConcurrency < 1:
		return errors.New("--truefoundry.max-concurrency must be at least 1")
	case *f.timeout <= 0:
		return errors.New("--truefoundry.timeout must be more than 0")
	case *f.timeoutOffset < 0:
		return errors.New("--truefoundry.timeout-offset must not be negative")
	case *f.demo && (*f.url != "" || *f.apiKeyFile != "" || f.apiPrefixSet):
		return errors.New("--demo brings its own target: leave out --truefoundry.url, --truefoundry.api-key-file and --truefoundry.api-prefix")
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
	return "This is a demonstration: the control plane and its tokens are made up."
}

// target makes the target that the flags and the environment describe. What it
// started ends with the function that it returns.
func (f *flags) target(logger log.Logger) (target collector.Target, end func(), err error) {
	if *f.demo {
		return f.demoTarget(logger)
	}
	end = func() {}
	key, err := f.apiKey()
	if err != nil {
		return target, end, err
	}
	address, from := *f.url, "--"+flagURL
	if address == "" {
		address, from = strings.TrimSpace(os.Getenv(envHost)), envHost
	}
	if address == "" {
		return target, end, fmt.Errorf("which control plane? set --%s or %s, or try --demo", flagURL, envHost)
	}
	u, err := client.ParseURL(address)
	if err != nil {
		return target, end, fmt.Errorf("%s: %w", from, err)
	}
	prefix, err := client.ParseAPIPrefix(*f.apiPrefix)
	if err != nil {
		return target, end, fmt.Errorf("--%s: %w", flagAPIPrefix, err)
	}
	if prefix != "" && (strings.HasSuffix(u.Path, prefix) || strings.Contains(u.Path, prefix+"/v1")) {
		return target, end, fmt.Errorf("%s: leave out %s, which --%s adds", from, prefix, flagAPIPrefix)
	}
	target, err = f.newTarget(u.Host, u, prefix, key)
	return target, end, err
}

func (f *flags) demoTarget(logger log.Logger) (target collector.Target, end func(), err error) {
	for _, env := range []string{envHost, envAPIKey} {
		if os.Getenv(env) != "" {
			level.Warn(logger).Log("msg", "ignored because of --demo", "env", env)
		}
	}
	d, err := demo.Start()
	if err != nil {
		return target, end, err
	}
	target, err = f.newTarget(demo.Target, d.URL, controlplane.Prefix, namedSecret{config.NewInlineSecret(d.Key), "the demonstration's own"})
	return target, d.Close, err
}

// apiKey returns where the key is to be read.
func (f *flags) apiKey() (config.SecretReader, error) {
	if *f.apiKeyFile != "" {
		return config.NewFileSecret(*f.apiKeyFile), nil
	}
	secret := strings.TrimSpace(os.Getenv(envAPIKey))
	if secret == "" {
		return nil, fmt.Errorf("no API key: set --truefoundry.api-key-file or %s", envAPIKey)
	}
	if err := client.CheckKey(secret); err != nil {
		return nil, fmt.Errorf("%s: %w", envAPIKey, err)
	}
	return namedSecret{config.NewInlineSecret(secret), envAPIKey}, nil
}

// namedSecret is a secret that says where it is from.
type namedSecret struct {
	config.SecretReader
	from string
}

// Description implements config.SecretReader.
func (s namedSecret) Description() string { return s.from }

func (f *flags) newTarget(name string, u *url.URL, apiPrefix string, key config.SecretReader) (target collector.Target, err error) {
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.ProxyFromEnvironment = true
	transport, err := config.NewRoundTripperFromConfig(httpConfig, programName)
	if err != nil {
		return target, err
	}
	return collector.Target{
		Name:  name,
		Kinds: []client.Kind{client.PersonalAccessToken},
		Client: client.Config{
			URL:       u,
			APIPrefix: apiPrefix,
			APIKey:    key,
			PageSize:  int(*f.pageSize),
			Limiter:   client.NewLimiter(int(*f.maxConcurrency)),
			Transport: transport,
			UserAgent: programName + "/" + version.Version,
			Now:       time.Now,
		},
	}, nil
}
