package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine/segment"
)

// SegmentView says what to show of a segment's file beside what it is.
type SegmentView struct {
	Blocks bool
	HasLog bool // the entries of Log
	Log    LogID
	Bodies bool // and their metas and bodies
}

// SegmentInfo is a segment's file for programs.
type SegmentInfo struct {
	File            string         `json:"file"`
	ID              uint64         `json:"id"`
	Group           uint32         `json:"group"`
	FirstGeneration uint32         `json:"first_generation"`
	LastGeneration  uint32         `json:"last_generation"`
	Tier            uint8          `json:"tier"`
	Entries         uint64         `json:"entries"`
	Logs            uint64         `json:"logs"`
	Bytes           int64          `json:"bytes"`
	RawBytes        int64          `json:"raw_bytes"`
	FirstLog        string         `json:"first_log"` // partition/number: its id is too large for JSON
	LastLog         string         `json:"last_log"`
	MinTime         int64          `json:"min_time"` // ms since the Unix epoch, as all times here
	MaxTime         int64          `json:"max_time"`
	FirstIndex      uint64         `json:"first_index"` // raft's
	LastIndex       uint64         `json:"last_index"`
	Created         int64          `json:"created"`
	SHA256          string         `json:"sha256"`
	Log             []SegmentEntry `json:"log,omitempty"`
}

// SegmentEntry is one entry of the log that was asked for.
type SegmentEntry struct {
	Seq  godwit.Seq `json:"seq"`
	Conv uint32     `json:"conv"`
	Prev godwit.Seq `json:"prev"`
	Time int64      `json:"time"`
	Meta []byte     `json:"meta,omitempty"` // base64
	Body []byte     `json:"body,omitempty"`
}

// DumpSegment prints a segment's file for humans.
func DumpSegment(w io.Writer, path string, view SegmentView) (err error) {
	r, err := segment.OpenFile(vfs.Default, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Release()) }()
	return segment.Dump(w, r, segment.DumpOptions{Blocks: view.Blocks, HasLog: view.HasLog, Log: view.Log, Bodies: view.Bodies})
}

// DescribeSegment is DumpSegment for programs.
func DescribeSegment(path string, view SegmentView) (info SegmentInfo, err error) {
	r, err := segment.OpenFile(vfs.Default, path)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, r.Release()) }()
	m := r.Meta()
	info = SegmentInfo{
		File: path, ID: m.ID, Group: m.Group, FirstGeneration: m.FirstGeneration, LastGeneration: m.LastGeneration, Tier: m.Tier,
		Entries: m.Entries, Logs: m.Logs, Bytes: m.SizeBytes, RawBytes: m.RawBytes, FirstLog: logText(m.FirstLog), LastLog: logText(m.LastLog),
		MinTime: m.MinTime, MaxTime: m.MaxTime, FirstIndex: m.FirstIndex, LastIndex: m.LastIndex, Created: m.Created,
		SHA256: hex.EncodeToString(m.SHA256[:]),
	}
	if !view.HasLog {
		return info, nil
	}
	var c segment.Cursor
	err = r.Ascend(&c, view.Log, 1, func(e *Entry) bool {
		entry := SegmentEntry{Seq: e.Seq, Conv: e.Conv, Prev: e.Prev, Time: e.Time}
		if view.Bodies {
			entry.Meta, entry.Body = e.Meta, e.Body
		}
		info.Log = append(info.Log, entry)
		return true
	})
	return info, err
}

func logText(log LogID) string { return fmt.Sprintf("%d/%d", log.Partition(), uint64(log)&(1<<48-1)) }

// CheckSegment reads a whole segment's file and says all it finds wrong.
func CheckSegment(path string) (problems []string, err error) {
	return segment.Check(vfs.Default, path)
}

// SegmentFiles returns the files in dir that are segments by name, with its path.
func SegmentFiles(dir string) (paths []string, err error) {
	names, err := vfs.Default.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		if _, temp, ok := segment.ParseFileName(name); ok && !temp {
			paths = append(paths, vfs.Default.PathJoin(dir, name))
		}
	}
	return paths, nil
}

// Identity is what the directory of a store was made for.
type Identity struct {
	Groups int
	Node   uint64
}

// ReadIdentity reads what an existing store's directory says it is.
func ReadIdentity(dir string) (Identity, error) {
	raw, err := readSmall(vfs.Default, vfs.Default.PathJoin(dir, superblockName))
	if err != nil {
		return Identity{}, fmt.Errorf("%s holds no store: %w", dir, err)
	}
	sb, err := parseSuperblock(raw)
	if err != nil {
		return Identity{}, fmt.Errorf("read %s: %w", dir, err)
	}
	return Identity{sb.groups, sb.node}, nil
}
