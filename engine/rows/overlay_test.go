package rows

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkpointOverlay writes what changed to the DB.
func checkpointOverlay(t testing.TB, o *Overlay) {
	t.Helper()
	o.Freeze()
	b := o.db.NewBatch()
	defer b.Close()
	must(t, o.WriteFrozen(b))
	must(t, b.Commit())
	o.DropFrozen()
}

func wantRow(t testing.TB, o *Overlay, key, want string) {
	t.Helper()
	value, ok, err := o.Get([]byte(key))
	if err != nil || ok != (want != "") || string(value) != want {
		t.Errorf("%q is %q, %v, %v, want %q", key, value, ok, err, want)
	}
}

func TestDeleteHidesRowsOfAllLayers(t *testing.T) {
	o := NewOverlay(openTemp(t), 1)
	o.Put([]byte("disk"), []byte("1"))
	checkpointOverlay(t, o)
	o.Put([]byte("frozen"), []byte("1"))
	o.Freeze()
	o.Put([]byte("active"), []byte("1"))
	for _, key := range []string{"disk", "frozen", "active"} {
		wantRow(t, o, key, "1")
		o.Delete([]byte(key))
		wantRow(t, o, key, "")
	}
	must(t, o.Scan(nil, func(key, _ []byte) bool {
		t.Errorf("%q is deleted", key)
		return true
	}))
}

func TestDeleteOfARowTheDBNeverHadLeavesNothing(t *testing.T) {
	o := NewOverlay(openTemp(t), 1)
	f := func(key string, want int) {
		t.Helper()
		o.Put([]byte(key), []byte("x"))
		o.Delete([]byte(key))
		if got := o.Len(); got != want {
			t.Errorf("%q: %d rows are left to be written, want %d", key, got, want)
		}
	}
	f("new store", 0)
	o.Put([]byte("kept"), []byte("1"))
	checkpointOverlay(t, o)
	f("unknown", 1) // the DB was not asked
	must(t, o.Fetch([]byte("absent")))
	f("absent", 1)
	must(t, o.Fetch([]byte("kept")))
	f("kept", 2)
	o.Freeze()
	f("kept", 1) // the frozen tombstone may be written before or after
}

// What was read before a checkpoint was committed is not what the DB has once
// the frozen rows are gone.
func TestFetchedRowsEndWithDropFrozen(t *testing.T) {
	o := NewOverlay(openTemp(t), 1)
	o.Put([]byte("other"), []byte("1"))
	checkpointOverlay(t, o)
	must(t, o.Fetch([]byte("key")))
	o.Put([]byte("key"), []byte("new"))
	checkpointOverlay(t, o)
	wantRow(t, o, "key", "new")
	o.Delete([]byte("key"))
	wantRow(t, o, "key", "")
	checkpointOverlay(t, o)
	wantRow(t, o, "key", "")
}

func TestFetchedRowsAreServedUntilClear(t *testing.T) {
	db := openTemp(t)
	put(t, db, 1, "key", "old")
	o := NewOverlay(db, 1)
	must(t, o.Fetch([]byte("key")))
	must(t, o.Fetch([]byte("none")))
	put(t, db, 1, "key", "behind the overlay's back")
	put(t, db, 1, "none", "behind the overlay's back")
	wantRow(t, o, "key", "old")
	wantRow(t, o, "none", "")
	o.Clear()
	wantRow(t, o, "key", "behind the overlay's back")
	wantRow(t, o, "none", "behind the overlay's back")
}

func TestGroupsDoNotSeeEachOther(t *testing.T) {
	db := openTemp(t)
	groups := []uint32{0, 1, 0xfe, 0xff, 0x100, 0xffffffff}
	for _, g := range groups {
		put(t, db, g, "", fmt.Sprint("empty ", g))
		put(t, db, g, "\xff\xff", fmt.Sprint("last ", g))
		b := db.NewBatch()
		b.SetCheckpoint(g, Checkpoint{Applied: uint64(g)})
		b.AddSegment(g, 1<<64-1, []byte{byte(g)})
		must(t, b.Commit())
		b.Close()
	}
	for _, g := range groups {
		var got []string
		must(t, NewOverlay(db, g).Scan(nil, func(_, value []byte) bool {
			got = append(got, string(value))
			return true
		}))
		if want := []string{fmt.Sprint("empty ", g), fmt.Sprint("last ", g)}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("group %d has %q", g, got)
		}
		n := 0
		must(t, db.Segments(g, func(id uint64, meta []byte) error {
			if n++; id != 1<<64-1 || meta[0] != byte(g) {
				t.Errorf("group %d: segment %d is %x", g, id, meta)
			}
			return nil
		}))
		if c, ok, err := db.Checkpoint(g); n != 1 || !ok || err != nil || c.Applied != uint64(g) {
			t.Errorf("group %d: %d segments, checkpoint %+v, %v, %v", g, n, c, ok, err)
		}
	}
	if has, err := db.HasRows(2); has || err != nil {
		t.Errorf("group 2 has rows: %v, %v", has, err)
	}
}

func TestKnownRowsCostNoAllocation(t *testing.T) {
	o := NewOverlay(openTemp(t), 1)
	key, value := []byte("key"), []byte("value 1")
	o.Put(key, value)
	f := func(name string, fn func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	f("Put", func() { o.Put(key, value) })
	f("Get", func() { _, _, _ = o.Get(key) })
	f("Lookup", func() { _, _, _ = o.Lookup(key) })
	f("Get in a new store", func() { _, _, _ = o.Get(value) })
	f("Fetch in a new store", func() { _ = o.Fetch(value) })
	o.Freeze()
	o.Delete(key)
	f("Put over a tombstone", func() { o.Put(key, value[:3]); o.Delete(key) })
}

// One applier, one checkpointer, readers: rows a and b always change together.
// For -race and for what a reader may see.
func TestReadersSeeWholeBatchesDuringCheckpoints(t *testing.T) {
	db := mustOpen(t, smallConfig(vfs.NewMem()))
	o := NewOverlay(db, 1)
	var mu sync.RWMutex
	var wg sync.WaitGroup
	done := make(chan struct{})
	const batches = 2000
	keys := [][]byte{[]byte("a"), []byte("b")}
	wg.Go(func() { // applier
		defer close(done)
		for i := range uint64(batches) {
			extra := fmt.Appendf(nil, "c%d", i%50)
			for _, key := range append(keys, extra) {
				must(t, o.Fetch(key))
			}
			mu.Lock()
			for _, key := range keys {
				old, ok, err := o.Get(key)
				if err != nil || ok != (i > 0) || ok && binary.BigEndian.Uint64(old) != i-1 {
					t.Errorf("batch %d: %q is %x, %v, %v", i, key, old, ok, err)
				}
				o.Put(key, binary.BigEndian.AppendUint64(nil, i))
			}
			if i%3 == 0 {
				o.Delete(extra)
			} else {
				o.Put(extra, []byte("x"))
			}
			mu.Unlock()
			o.Clear()
		}
	})
	wg.Go(func() { // checkpointer
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			mu.Lock()
			o.Freeze()
			mu.Unlock()
			b := db.NewBatch()
			must(t, o.WriteFrozen(b))
			must(t, b.Commit())
			b.Close()
			mu.Lock()
			o.DropFrozen()
			mu.Unlock()
		}
	})
	for range 2 {
		wg.Go(func() {
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				readPair(t, o, &mu, keys)
			}
		})
	}
	wg.Wait()
	must(t, db.Close())
	db = mustOpen(t, smallConfig(db.cfg.FS))
	wantRow(t, NewOverlay(db, 1), "a", string(binary.BigEndian.AppendUint64(nil, batches-1)))
	must(t, db.Close())
}

func readPair(t *testing.T, o *Overlay, mu *sync.RWMutex, keys [][]byte) {
	mu.RLock()
	defer mu.RUnlock()
	a, _, err := o.Lookup(keys[0])
	must(t, err)
	b, _, err := o.Lookup(keys[1])
	must(t, err)
	var scanned [][]byte
	must(t, o.Scan(nil, func(_, value []byte) bool {
		scanned = append(scanned, value)
		return len(scanned) < 2
	}))
	if string(a) != string(b) || len(a) > 0 && (string(scanned[0]) != string(a) || string(scanned[1]) != string(a)) {
		t.Errorf("a is %x, b is %x, scanned %x", a, b, scanned)
	}
}
