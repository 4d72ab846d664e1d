package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit/chat"
	"github.com/godwit-im/godwit/engine"
)

// What commands meet of the engine.
type (
	Progress     = engine.Progress
	ListedBackup = engine.ListedBackup
	SegmentInfo  = engine.SegmentInfo
	// SegmentView says what to show of a segment's file.
	SegmentView = engine.SegmentView
)

// BackupPath is where the ops endpoint makes a backup: POST {"to": DIR}, DIR on
// the server's machine. The answer is one JSON object a line: progress now and
// then, at last the backup or an error.
const BackupPath = "/v1/backup"

// BackupLine is one line of the answer; one field of it is set.
type BackupLine struct {
	Progress *Progress     `json:"progress,omitempty"`
	Backup   *BackupResult `json:"backup,omitempty"`
	Error    *BackupError  `json:"error,omitempty"`
}

// BackupResult is a backup that was made.
type BackupResult struct {
	Path    string    `json:"path"`
	Created time.Time `json:"created"`
	Groups  int       `json:"groups"`
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
}

// BackupError says why there is none.
type BackupError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

const backupRequestMax = 16 << 10

// serveBackup makes a backup while the node runs. It names a directory to write
// to, so only this machine may ask, and no web page: a browser would send an
// Origin, and can't send JSON elsewhere without being allowed to.
func (n *Node) serveBackup(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(BackupLine{Error: &BackupError{code, message}})
	}
	var request struct {
		To string `json:"to"`
	}
	decoder := json.NewDecoder(io.LimitReader(r.Body, backupRequestMax))
	decoder.DisallowUnknownFields()
	switch {
	case !fromLoopback(r.RemoteAddr) || r.Header.Get("Origin") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != "":
		refuse(http.StatusForbidden, "forbidden", "only programs on the server's own machine may make backups")
		return
	case r.Header.Get("Content-Type") != "application/json":
		refuse(http.StatusUnsupportedMediaType, "request", "the Content-Type must be application/json")
		return
	case decoder.Decode(&request) != nil || !filepath.IsAbs(request.To):
		refuse(http.StatusBadRequest, "request", `send {"to": DIR}, an absolute path on the server's machine`)
		return
	case n.tiers.Load() == nil:
		refuse(http.StatusServiceUnavailable, "starting", "the node is not ready yet")
		return
	}
	// A backup takes as long as it takes; what is cut off is the connection.
	stream := http.NewResponseController(w)
	_ = stream.SetReadDeadline(time.Time{})
	encoder := json.NewEncoder(w)
	say := func(line BackupLine) {
		_ = stream.SetWriteDeadline(time.Now().Add(opsTimeout))
		_ = encoder.Encode(line)
		_ = stream.Flush()
	}
	w.Header().Set("Content-Type", "application/jsonl")
	result, err := backUp(r.Context(), n.store, n.cfg.Program, request.To, func(p Progress) { say(BackupLine{Progress: &p}) })
	if err != nil {
		n.logger.Error("backup failed", "to", request.To, "err", err)
		say(BackupLine{Error: &BackupError{"failed", err.Error()}})
		return
	}
	n.logger.Info("backup made", "path", result.Path, "files", result.Files, "bytes", result.Bytes)
	say(BackupLine{Backup: &result})
}

func fromLoopback(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func backUp(ctx context.Context, s *engine.Store, program, to string, progress func(Progress)) (BackupResult, error) {
	name, b, err := s.Backup(ctx, engine.BackupConfig{Dir: to, Program: program, Progress: progress})
	if err != nil {
		return BackupResult{}, err
	}
	return BackupResult{Path: filepath.Join(to, name), Created: b.Created, Groups: len(b.Groups), Files: len(b.Files), Bytes: b.Bytes()}, nil
}

// BackUpData makes a backup of a data directory that no process uses.
func BackUpData(ctx context.Context, program, data, to string, logger *slog.Logger, progress func(Progress)) (result BackupResult, err error) {
	dir := filepath.Join(data, engineDir)
	identity, err := engine.ReadIdentity(dir)
	if err != nil {
		return result, err
	}
	var failure atomic.Pointer[error]
	store, err := engine.Open(engine.Config{
		Dir: dir, Groups: identity.Groups, Node: identity.Node, Logger: logger, ScrubBytesPerSecond: -1,
		Fatal: func(err error) { failure.Store(&err) },
	}, machineAdapter{chat.NewMachine(identity.Groups)})
	if err != nil {
		return result, err
	}
	result, err = backUp(ctx, store, program, to, progress)
	err = errors.Join(err, store.Close())
	if p := failure.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	return result, err
}

// ListBackups returns the backups in a directory, oldest first.
func ListBackups(dir string) ([]engine.ListedBackup, error) { return engine.ListBackups(nil, dir) }

// VerifyBackup reads one whole backup and says all it finds wrong.
func VerifyBackup(ctx context.Context, dir string, progress func(Progress)) (b engine.Backup, bad, notes []string, err error) {
	return engine.VerifyBackup(ctx, nil, dir, progress)
}

// RestoreData makes the data directory of a node of a backup. It must not exist,
// or be empty but for what a restore that was broken off left there.
func RestoreData(ctx context.Context, from, data string, copies bool, progress func(Progress)) (engine.Backup, error) {
	dir := filepath.Join(data, engineDir)
	entries, err := os.ReadDir(data)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return engine.Backup{}, err
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return e.Name() != engineDir && !strings.HasPrefix(e.Name(), engineDir+".")
	}) {
		return engine.Backup{}, fmt.Errorf("%w: %s; name a new directory", engine.ErrNotEmpty, data)
	}
	return engine.Restore(ctx, engine.RestoreConfig{From: from, Dir: dir, Copy: copies, Progress: progress})
}

// CheckSegment reads a whole segment's file and says all it finds wrong.
func CheckSegment(path string) (problems []string, err error) { return engine.CheckSegment(path) }

// SegmentFiles returns the segments in a directory.
func SegmentFiles(dir string) (paths []string, err error) { return engine.SegmentFiles(dir) }

// DumpSegment prints a segment's file for humans, DescribeSegment is for programs.
func DumpSegment(w io.Writer, path string, view SegmentView) error {
	return engine.DumpSegment(w, path, view)
}

// DescribeSegment is DumpSegment for programs.
func DescribeSegment(path string, view SegmentView) (SegmentInfo, error) {
	return engine.DescribeSegment(path, view)
}
