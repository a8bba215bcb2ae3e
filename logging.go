package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

const (
	formatLogfmt = "logfmt"
	formatJSON   = "json"
)

// newLogger returns a logger that writes lines of at least minLevel to w.
func newLogger(w io.Writer, minLevel, format string) log.Logger {
	w = log.NewSyncWriter(w)
	logger := log.NewLogfmtLogger(w)
	if format == formatJSON {
		logger = log.NewJSONLogger(w)
	}
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(minLevel, level.InfoValue())))
	return log.With(logger, "ts", log.TimestampFormat(func() time.Time { return time.Now().UTC() }, "2006-01-02T15:04:05.000Z07:00"))
}

// newSlogger returns a logger for exporter-toolkit, which wants slog. Its lines
// look like all others.
func newSlogger(logger log.Logger) *slog.Logger { return slog.New(slogHandler{logger}) }

// logErrors makes srv log the errors of single connections like everything else.
func logErrors(srv *http.Server, logger log.Logger) {
	srv.ErrorLog = slog.NewLogLogger(slogHandler{logger}, slog.LevelWarn)
}

type slogHandler struct{ logger log.Logger }

// Enabled leaves the filtering to the go-kit logger.
func (slogHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h slogHandler) Handle(_ context.Context, r slog.Record) error {
	logger := level.Info(h.logger)
	switch {
	case r.Level >= slog.LevelError:
		logger = level.Error(h.logger)
	case r.Level >= slog.LevelWarn:
		logger = level.Warn(h.logger)
	case r.Level < slog.LevelInfo:
		logger = level.Debug(h.logger)
	}
	pairs := []any{"msg", explainWebConfig(r.Message)}
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString {
			a.Value = slog.StringValue(explainWebConfig(a.Value.String()))
		}
		pairs = append(pairs, a.Key, a.Value)
		return true
	})
	return logger.Log(pairs...)
}

func (h slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.logger = log.With(h.logger, a.Key, a.Value)
	}
	return h
}

// WithGroup keeps no groups: the toolkit uses none.
func (h slogHandler) WithGroup(string) slog.Handler { return h }
