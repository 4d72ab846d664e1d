package rows

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// newTestGate gives a gate over a disk that fails when fail is true.
func newTestGate(t *testing.T, fail *bool) (*gate, *vfs.MemFS, *int) {
	mem := vfs.NewMem()
	must(t, mem.MkdirAll(testDir, 0o755))
	reports := new(int)
	g := &gate{dir: testDir, report: func(error) { *reports++ }}
	g.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if *fail && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errDisk
		}
		return nil
	}))
	var err error
	g.guard, err = openGuard(mem, testDir)
	must(t, err)
	t.Cleanup(func() { must(t, g.guard.close()) })
	return g, mem, reports
}

func TestShutGateChangesNothing(t *testing.T) {
	fail := false
	g, mem, reports := newTestGate(t, &fail)
	name := func(s string) string { return testDir + "/" + s }
	f, err := g.Create(name("000001.log"), vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write([]byte("before"))
	must(t, err)
	must(t, f.Sync())
	dir, err := g.OpenDir(testDir)
	must(t, err)
	_, err = f.Write([]byte(", not synced"))
	must(t, err)
	fail = true
	must(t, f.Sync()) // fails; Pebble is not told
	fail = false      // the disk would work again
	if !errors.Is(g.err(), errDisk) || !errors.Is(g.err(), ErrFailed) || *reports != 1 {
		t.Fatalf("%v, %d reports", g.err(), *reports)
	}
	before, _ := mem.List(testDir)
	slices.Sort(before)
	guardBefore := readFile(t, mem, name(guardName))

	n, err := f.Write([]byte("after"))
	if n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, err := range []error{
		f.Sync(), f.SyncData(), dir.Sync(), g.Remove(name("000001.log")), g.RemoveAll(testDir),
		g.Rename(name("000001.log"), name("x")), g.Link(name("000001.log"), name("y")), g.MkdirAll(name("z"), 0o755),
	} {
		must(t, err)
	}
	for _, open := range []func() (vfs.File, error){
		func() (vfs.File, error) { return g.Create(name("000002.log"), vfs.WriteCategoryUnspecified) },
		func() (vfs.File, error) {
			return g.ReuseForWrite(name("000001.log"), name("3"), vfs.WriteCategoryUnspecified)
		},
		func() (vfs.File, error) {
			return g.OpenReadWrite(name("4"), vfs.WriteCategoryUnspecified)
		},
	} {
		hole, err := open()
		must(t, err)
		_, err = hole.Write([]byte("lost"))
		must(t, err)
		must(t, hole.Sync())
		must(t, hole.Close())
	}
	must(t, f.Close())
	must(t, dir.Close())
	after, _ := mem.List(testDir)
	slices.Sort(after)
	if !slices.Equal(before, after) || string(readFile(t, mem, name("000001.log"))) != "before, not synced" {
		t.Errorf("%q became %q", before, after)
	}
	if !bytes.Equal(guardBefore, readFile(t, mem, name(guardName))) || *reports != 1 {
		t.Errorf("the guard was written, or %d reports", *reports)
	}
}

func TestFailureOutsideTheDirectoryIsTold(t *testing.T) {
	fail := true
	g, _, reports := newTestGate(t, &fail)
	for _, name := range []string{"backup", testDir + "2", "data"} {
		if err := g.MkdirAll(name, 0o755); !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := g.Create(name+"/f", vfs.WriteCategoryUnspecified); !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if g.err() != nil || *reports != 0 {
		t.Errorf("%v, %d reports", g.err(), *reports)
	}
}

// A torn write of one slot leaves the other, and the next write does not touch it.
func TestGuardSurvivesATornSlot(t *testing.T) {
	mem := vfs.NewMem()
	must(t, mem.MkdirAll(testDir, 0o755))
	log := testDir + "/000007.log"
	writeFile(t, mem, log, []byte("0123456789"))
	g, err := openGuard(mem, testDir)
	must(t, err)
	for n := range int64(6) {
		state, err := digestFile(mem, log, n+1)
		must(t, err)
		must(t, g.synced("000007.log", state))
	}
	must(t, g.close())
	name := testDir + "/" + guardName
	data := readFile(t, mem, name)
	newest := int(g.count%2) * guardSlotBytes
	f := func(torn []byte, want int64) {
		t.Helper()
		writeFile(t, mem, name, torn)
		g, err := openGuard(mem, testDir)
		must(t, err)
		if got := g.files["000007.log"].bytes; got != want {
			t.Errorf("guards %d bytes, want %d", got, want)
		}
		must(t, g.close())
	}
	f(data, 6)
	torn := bytes.Clone(data)
	torn[newest+30] ^= 1
	f(torn, 5)
	torn[guardSlotBytes-newest+30] ^= 1
	writeFile(t, mem, name, torn)
	writeFile(t, mem, testDir+"/MANIFEST-000001", nil)
	if _, err := openGuard(mem, testDir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("both slots torn: %v", err)
	}
	must(t, mem.Remove(name))
	if _, err := openGuard(mem, testDir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no guard: %v", err)
	}
	writeFile(t, mem, name, data)
	must(t, mem.Remove(log))
	if _, err := openGuard(mem, testDir); !errors.Is(err, ErrCorrupt) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
}

func TestNewerGuardIsRefused(t *testing.T) {
	slot := appendGuard(nil, 5, map[string]guarded{"1.log": {1, 2}})
	if count, files, err := parseGuard(slot); count != 5 || files["1.log"] != (guarded{1, 2}) || err != nil {
		t.Errorf("%d, %v, %v", count, files, err)
	}
	if _, _, err := parseGuard(resealGuard(slot, guardVersion+1)); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseGuard(f *testing.F) {
	f.Add(appendGuard(nil, 1, nil))
	f.Add(appendGuard(nil, 5, map[string]guarded{"000001.log": {1, 2}}))
	f.Fuzz(func(t *testing.T, slot []byte) {
		if len(slot) < guardHeaderBytes {
			return
		}
		count, files, err := parseGuard(resealGuard(slot, guardVersion))
		if err != nil {
			return
		}
		count2, files2, err := parseGuard(appendGuard(nil, count, files))
		if err != nil || count2 != count || len(files2) != len(files) {
			t.Errorf("%d, %v became %d, %v, %v", count, files, count2, files2, err)
		}
	})
}
