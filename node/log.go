package node

import (
	"io"
	"log/slog"
)

// NewLogger returns Config.Logger, or the logger that Config.Log describes.
func (cfg *Config) NewLogger(w io.Writer) *slog.Logger {
	if cfg.Logger != nil {
		return cfg.Logger
	}
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	var level slog.Level
	if level.UnmarshalText([]byte(cfg.Log.Level)) == nil {
		options.Level = level
	}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
