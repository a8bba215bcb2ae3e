package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
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
	"github.com/truefoundry-community/truefoundry_exporter/internal/demo"
)

// The environment that TrueFoundry's own tools read.
const (
	envHost   = "TFY_HOST"
	envAPIKey = "TFY_API_KEY" //nolint:gosec // the name of a variable
)

type flags struct {
	web                    *web.FlagConfig
	telemetryPath          *string
	maxRequests            *int
	disableExporterMetrics *bool

	demo           *bool
	url            *string
	apiKeyFile     *string
	apiPrefix      *string
	apiPrefixSet   bool
	creatorLabel   *string
	pageSize       *int
	maxConcurrency *int
	timeout        *time.Duration
	timeoutOffset  *time.Duration

	logLevel, logFormat *string
}

func addFlags(app *kingpin.Application) *flags {
	f := &flags{web: kingpinflag.AddFlags(app, ":10140")}
	f.telemetryPath = app.Flag("web.telemetry-path", "Path of the metrics; at / there is no landing page.").Default("/metrics").String()
	f.maxRequests = app.Flag("web.max-requests", "Scrapes that may run at a time; 0 is no limit.").Default("40").Int()
	f.disableExporterMetrics = app.Flag("web.disable-exporter-metrics", "Leave out the metrics go_*, process_* and promhttp_*.").Bool()

	f.demo = app.Flag("demo", "Export a made-up control plane that runs inside the exporter, to see what it does.").Bool()
	f.url = app.Flag("truefoundry.url", "URL of the control plane, as in https://example.truefoundry.cloud; else "+envHost+" of the environment.").String()
	f.apiKeyFile = app.Flag("truefoundry.api-key-file", "File that holds the API key, read anew for each listing; else the key is "+envAPIKey+" of the environment.").String()
	f.apiPrefix = app.Flag("truefoundry.api-prefix", "Path of the API below the URL; empty inside the control plane's cluster.").Default(client.DefaultAPIPrefix).IsSetByUser(&f.apiPrefixSet).String()
	f.creatorLabel = app.Flag("truefoundry.creator-label", "What the label creator holds: slug (a user's e-mail address) or id.").
		Default(string(collector.CreatorSlug)).Enum(string(collector.CreatorSlug), string(collector.CreatorID))
	f.pageSize = app.Flag("truefoundry.page-size", fmt.Sprintf("Tokens to ask for at a time, 1 to %d.", client.MaxPageSize)).Default("1000").Int()
	f.maxConcurrency = app.Flag("truefoundry.max-concurrency", "Requests that may run at a time at one control plane.").Default("4").Int()
	f.timeout = app.Flag("truefoundry.timeout", "The longest that the listings of a scrape may take.").Default("60s").Duration()
	f.timeoutOffset = app.Flag("truefoundry.timeout-offset", "What is kept back of the scraper's own timeout, to answer in time.").Default("500ms").Duration()

	f.logLevel = app.Flag("log.level", "Least severe level that is logged: debug, info, warn or error.").Default("info").Enum("debug", "info", "warn", "error")
	f.logFormat = app.Flag("log.format", "Format of the log: logfmt or json.").Default(formatLogfmt).Enum(formatLogfmt, formatJSON)
	return f
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
	if err := web.Validate(*f.web.WebConfigFile); err != nil {
		return fmt.Errorf("--web.config.file: %w", err)
	}
	return nil
}

// notice is what the landing page has to say first.
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
	address := cmp.Or(*f.url, os.Getenv(envHost))
	if address == "" {
		return target, end, fmt.Errorf("which control plane? set --truefoundry.url or %s, or try --demo", envHost)
	}
	u, err := client.ParseURL(address)
	if err != nil {
		return target, end, err
	}
	target, err = f.newTarget(u.Host, u, key)
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
	target, err = f.newTarget(demo.Target, d.URL, namedSecret{config.NewInlineSecret(d.Key), "the demonstration's own"})
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
		return nil, fmt.Errorf("%s is no API key: %w", envAPIKey, err)
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

func (f *flags) newTarget(targetName string, u *url.URL, key config.SecretReader) (target collector.Target, err error) {
	prefix, err := client.ParseAPIPrefix(*f.apiPrefix)
	if err != nil {
		return target, err
	}
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.ProxyFromEnvironment = true
	transport, err := config.NewRoundTripperFromConfig(httpConfig, name)
	if err != nil {
		return target, err
	}
	return collector.Target{
		Name:  targetName,
		Kinds: []client.Kind{client.PersonalAccessToken},
		Client: client.Config{
			URL:       u,
			APIPrefix: prefix,
			APIKey:    key,
			PageSize:  *f.pageSize,
			Limiter:   client.NewLimiter(*f.maxConcurrency),
			Transport: transport,
			UserAgent: name + "/" + version.Version,
			Now:       time.Now,
		},
	}, nil
}
