package main

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestPlansFollowFromTheSeed(t *testing.T) {
	if !reflect.DeepEqual(planRound(1, 2, "ext4"), planRound(1, 2, "ext4")) {
		t.Error("one seed, two plans")
	}
	if planRound(1, 2, "ext4").seed == planRound(1, 3, "ext4").seed {
		t.Error("two rounds write the same")
	}
}

// Over some rounds the power fails in every way there is.
func TestPlansCoverEveryWayToFail(t *testing.T) {
	after, flags, stirred := map[cutAfter]int{}, map[uint32]int{}, map[bool]int{}
	groups := map[int]int{}
	for n := range 40 {
		p := planRound(9, n, "ext4")
		groups[p.groups]++
		if len(p.lives) < livesMin || len(p.lives) > livesMax {
			t.Fatalf("%d lives", len(p.lives))
		}
		for _, l := range p.lives {
			after[l.after]++
			flags[l.flags]++
			stirred[l.stir]++
			if l.delay < 0 || l.delay+l.run > 3*time.Second {
				t.Fatalf("%+v", l)
			}
		}
	}
	if len(after) != 3 || len(flags) != 2 || len(stirred) != 2 || len(groups) != 4 {
		t.Errorf("after %v, flags %v, stirred %v, groups %v", after, flags, stirred, groups)
	}
}

func TestBodiesFollowFromTheirNames(t *testing.T) {
	seen := map[string]bool{}
	for n := uint64(1); n < 200; n++ {
		body := appendBody(nil, 1, testLog, entryID{1, n})
		if !bytes.Equal(body, appendBody(nil, 1, testLog, entryID{1, n})) || len(body) > bodyLargeMax {
			t.Fatalf("entry %d: %d bytes, or two bodies", n, len(body))
		}
		if len(body) > 8 && seen[string(body)] {
			t.Fatalf("entry %d has the body of another", n)
		}
		seen[string(body)] = true
	}
}

func TestOptions(t *testing.T) {
	f := func(arguments, wantError string) options {
		t.Helper()
		o, err := parseOptions(strings.Fields(arguments), io.Discard)
		if wantError == "" && err != nil || wantError != "" && (err == nil || !strings.Contains(err.Error(), wantError)) {
			t.Errorf("%s: %v, want %q", arguments, err, wantError)
		}
		return o
	}
	if o := f("--rounds 3 --fs ext4,xfs --size 1GiB -seed 5", ""); o.Rounds != 3 || len(o.Filesystems) != 2 || o.Size != 1<<30 || o.Seed != 5 {
		t.Errorf("%+v", o)
	}
	if o := f("", ""); o.Rounds != 20 || o.Size != 512<<20 || o.Seed == 0 {
		t.Errorf("%+v", o)
	}
	f("-rounds 0", "at least 1")
	f("-fs btrfs", "want ext4")
	f("-fs xfs -size 200MiB", "at least 300MiB")
	f("-size 1MiB", "at least 128MiB")
	f("-size lots", "number of MiB")
	f("-size 99999999999GiB", "number of MiB")
	f("more", "unknown argument")
}
