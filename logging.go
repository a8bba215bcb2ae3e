package main

import (
	"context"
	"io"
	stdlog "log"
	"log/slog"
	"net/http"
	"strings"
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

// logStandardLog makes the lines of Go's standard log, which net/http writes to
// where a server sends more than it was asked for, look like all others.
func logStandardLog(logger log.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(standardLog{logger})
}

type standardLog struct{ logger log.Logger }

// Write implements io.Writer. It leaves out what a server sent, which may repeat
// a secret.
func (l standardLog) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(strings.TrimSpace(string(line)), ` starting with "`)
	return len(line), level.Warn(l.logger).Log("msg", text)
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
	pairs := []any{"msg", r.Message}
	r.Attrs(func(a slog.Attr) bool {
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
