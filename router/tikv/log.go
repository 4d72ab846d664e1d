package tikv

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pingcap/log"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// client-go and PD's client log through one logger of the process. These are theirs,
// not ours: the logger that the last Open named, and what they warned of.
var (
	quietOnce sync.Once
	sink      atomic.Pointer[slog.Logger]
	warnings  atomic.Uint64
)

// quiet turns that logger to ours. Their warnings are routine while a leader moves,
// so they are Debug here; what matters is in the answers of calls.
func quiet(logger *slog.Logger) {
	sink.Store(logger)
	quietOnce.Do(func() {
		level := zap.NewAtomicLevelAt(zapcore.WarnLevel)
		core := slogCore{LevelEnabler: level}
		log.ReplaceGlobals(zap.New(core), &log.ZapProperties{Core: core, Level: level})
	})
}

// slogCore hands zap's entries to slog, without their fields that are not text: keys
// and regions by the dozen, and stacks.
type slogCore struct {
	zapcore.LevelEnabler
}

func (c slogCore) With([]zapcore.Field) zapcore.Core { return c }

func (c slogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (slogCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	warnings.Add(1)
	logger := sink.Load()
	if !logger.Enabled(context.Background(), slog.LevelDebug) {
		return nil
	}
	attributes := []any{slog.String("says", entry.Message), slog.String("level", entry.Level.String())}
	for _, f := range fields {
		switch f.Type {
		case zapcore.StringType:
			attributes = append(attributes, slog.String(f.Key, f.String))
		case zapcore.ErrorType:
			if err, ok := f.Interface.(error); ok {
				attributes = append(attributes, slog.String(f.Key, err.Error()))
			}
		}
	}
	logger.Debug("client-go", attributes...)
	return nil
}

func (slogCore) Sync() error { return nil }
