package main

import (
	"context"
	"io"
	stdlog "log"
	"log/slog"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

const (
	formatLogfmt = "logfmt"
	formatJSON   = "json"
)

// newLogger returns a logger that writes messages of at least minLevel to w.
func newLogger(w io.Writer, minLevel, format string) log.Logger {
	w = log.NewSyncWriter(w)
	logger := log.NewLogfmtLogger(w)
	if format == formatJSON {
		logger = log.NewJSONLogger(w)
	}
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(minLevel, level.InfoValue())))
	return log.With(logger, "ts", log.TimestampFormat(func() time.Time { return time.Now().UTC() }, "2006-01-02T15:04:05.000Z07:00"))
}

// newSlogger returns an slog.Logger for the exporter-toolkit that writes to logger.
func newSlogger(logger log.Logger) *slog.Logger { return slog.New(slogHandler{logger}) }

// newErrorLog returns a log.Logger for http.Server.ErrorLog that writes to logger.
func newErrorLog(logger log.Logger) *stdlog.Logger {
	return slog.NewLogLogger(slogHandler{logger}, slog.LevelWarn)
}

// redirectStandardLog makes Go's standard logger write to logger. net/http uses it to log
// unsolicited responses.
func redirectStandardLog(logger log.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(standardLogWriter{logger})
}

type standardLogWriter struct{ logger log.Logger }

// Write implements io.Writer. It drops what a server sent, which may contain a secret.
func (w standardLogWriter) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(strings.TrimSpace(string(line)), ` starting with "`)
	return len(line), level.Warn(w.logger).Log("msg", text)
}

type slogHandler struct{ logger log.Logger }

// Enabled implements slog.Handler. The go-kit logger filters levels.
func (slogHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
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

// WithAttrs implements slog.Handler.
func (h slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.logger = log.With(h.logger, a.Key, a.Value)
	}
	return h
}

// WithGroup implements slog.Handler. It ignores groups, which the toolkit does not use.
func (h slogHandler) WithGroup(string) slog.Handler { return h }
