package engine

import (
	"context"
	"fmt"
	"log/slog"
)

// raftLogger gives raft's lines to slog at Debug, and formats them only when
// that level is on. Panic is raft's word for a broken invariant.
type raftLogger struct{ log *slog.Logger }

func (l raftLogger) print(v []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("raft", "line", fmt.Sprint(v...))
	}
}

func (l raftLogger) printf(format string, v []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("raft", "line", fmt.Sprintf(format, v...))
	}
}

func (l raftLogger) Debug(v ...any)                   { l.print(v) }
func (l raftLogger) Debugf(format string, v ...any)   { l.printf(format, v) }
func (l raftLogger) Info(v ...any)                    { l.print(v) }
func (l raftLogger) Infof(format string, v ...any)    { l.printf(format, v) }
func (l raftLogger) Warning(v ...any)                 { l.print(v) }
func (l raftLogger) Warningf(format string, v ...any) { l.printf(format, v) }
func (l raftLogger) Error(v ...any)                   { l.print(v) }
func (l raftLogger) Errorf(format string, v ...any)   { l.printf(format, v) }
func (l raftLogger) Fatal(v ...any)                   { panic("BUG: raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Fatalf(format string, v ...any)   { panic("BUG: raft: " + fmt.Sprintf(format, v...)) }
func (l raftLogger) Panic(v ...any)                   { panic("BUG: raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Panicf(format string, v ...any)   { panic("BUG: raft: " + fmt.Sprintf(format, v...)) }
