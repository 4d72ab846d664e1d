package segment

import (
	"context"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/godwit-im/godwit"
)

const later = "BUG: segment: not written yet"

// Writer makes one segment.
type Writer struct{}

func Create(cfg Config, m Meta) (*Writer, error)                               { panic(later) }
func (w *Writer) Add(log godwit.LogID, older uint32, r *godwit.Record) error   { panic(later) }
func (w *Writer) AddHead(log godwit.LogID, seq godwit.Seq, older uint32) error { panic(later) }
func (w *Writer) Finish() (Meta, error)                                        { panic(later) }
func (w *Writer) Abort()                                                       { panic(later) }

// Reader answers from one segment.
type Reader struct{}

// Cursor remembers a decoded run. The zero value is ready.
type Cursor struct{}

func Open(cfg Config, m Meta, cache *Cache) (*Reader, error) { panic(later) }
func ReadMeta(fs vfs.FS, path string) (Meta, error)          { panic(later) }
func (r *Reader) Meta() *Meta                                { panic(later) }
func (r *Reader) MemoryBytes() int64                         { panic(later) }
func (r *Reader) MayContain(log godwit.LogID) bool           { panic(later) }

// Run: first and last are 0 for a log all of whose entries were dropped; older still counts.
func (r *Reader) Run(c *Cursor, log godwit.LogID) (first, last godwit.Seq, older uint32, ok bool, err error) {
	panic(later)
}
func (r *Reader) Entry(c *Cursor, log godwit.LogID, seq godwit.Seq) (godwit.Record, bool, error) {
	panic(later)
}
func (r *Reader) Ascend(c *Cursor, log godwit.LogID, from godwit.Seq, fn func(*godwit.Record) bool) error {
	panic(later)
}
func (r *Reader) Heads(fn func(log godwit.LogID, seq godwit.Seq) error) error { panic(later) }
func (r *Reader) Scan() *Scanner                                              { panic(later) }
func (r *Reader) Verify(ctx context.Context, bytesPerSecond int64) error      { panic(later) }
func (r *Reader) Acquire()                                                    { panic(later) }
func (r *Reader) Obsolete()                                                   { panic(later) }
func (r *Reader) Release() error                                              { panic(later) }

// Scanner: for s.NextRun() { s.Log(), s.Older(), s.Head(); for s.Next() { s.Record() } }; s.Err()
type Scanner struct{}

func (s *Scanner) NextRun() bool          { panic(later) }
func (s *Scanner) Next() bool             { panic(later) }
func (s *Scanner) Log() godwit.LogID      { panic(later) }
func (s *Scanner) Older() uint32          { panic(later) }
func (s *Scanner) Head() godwit.Seq       { panic(later) }
func (s *Scanner) Record() *godwit.Record { panic(later) }
func (s *Scanner) Err() error             { panic(later) }

type Cache struct{}

func NewCache(bytesMax int64) *Cache                       { panic(later) }
func (c *Cache) Stats() (hits, misses uint64, bytes int64) { panic(later) }
func (c *Cache) Close()                                    { panic(later) }

// Merge: throttle is told of bytes read and written; its error ends the merge.
func Merge(cfg Config, m Meta, sources []*Reader, keep func(godwit.LogID, *godwit.Record) bool, throttle func(bytes int) error) (Meta, error) {
	panic(later)
}

type DumpOptions struct {
	Log    godwit.LogID // with HasLog: print its records
	HasLog bool
}

func Dump(w io.Writer, r *Reader, o DumpOptions) error            { panic(later) }
func Check(fs vfs.FS, path string) (problems []string, err error) { panic(later) }
