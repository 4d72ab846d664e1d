package main

import (
	"errors"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Chat in 16 KiB blocks shrinks to 1/2.1: the texts must not be easier.
func TestTextsShrinkAsChatDoes(t *testing.T) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := phase{Seed: 7}
	raw, packed := 0, 0
	for n := uint64(0); n < 20_000; {
		var block []byte
		for ; len(block)+messageBytes <= 16<<10; n++ {
			block = append(block, p.text(n)...)
		}
		raw += len(block)
		packed += len(encoder.EncodeAll(block, nil))
	}
	if ratio := float64(raw) / float64(packed); ratio < 2.0 || ratio > 2.3 {
		t.Errorf("zstd finds %.2f", ratio)
	} else {
		t.Logf("zstd finds %.2f", ratio)
	}
}

func TestSpreadPhaseVisitsEveryUserOnce(t *testing.T) {
	for _, users := range []uint32{1, 2, 300, 1000, 65_536, 1_000_000} {
		p := phase{Users: users, Spread: true}
		seen := make([]bool, users)
		for n := range uint64(users) {
			user := p.user(n)
			if seen[user] {
				t.Fatalf("of %d users, %d comes twice", users, user)
			}
			seen[user] = true
		}
		if p.user(uint64(users)) != p.user(0) {
			t.Errorf("of %d users, the second time is in another order", users)
		}
	}
}

func TestRandomPhaseReachesAllUsersEvenly(t *testing.T) {
	p := phase{Seed: 3, Users: 100}
	counts := make([]int, p.Users)
	for n := range uint64(100_000) {
		counts[p.user(n)]++
	}
	for user, n := range counts {
		if n < 800 || n > 1200 { // 1000 ± 6 deviations
			t.Errorf("user %d gets %d of 100000", user, n)
		}
	}
}

func TestSampleIsOfDistinctUsers(t *testing.T) {
	for _, n := range []int{0, 1, 99, 100, 200} {
		users := sampleUsers(9, 100, n)
		seen := map[uint32]bool{}
		for _, user := range users {
			seen[user] = true
		}
		if len(users) != min(n, 100) || len(seen) != len(users) {
			t.Errorf("of 100 users, %d: %d, %d of them distinct", n, len(users), len(seen))
		}
	}
}

func TestRefusesFilesystemsThatAreNoDisk(t *testing.T) {
	for _, magic := range []int64{unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC} {
		if _, err := nameFilesystem("x", magic); !errors.Is(err, errFilesystem) {
			t.Errorf("%#x: %v", magic, err)
		}
	}
	if name, err := nameFilesystem("x", unix.EXT4_SUPER_MAGIC); name != "ext4" || err != nil {
		t.Errorf("ext4 is %q, %v", name, err)
	}
	var st unix.Statfs_t
	const memory = "/dev/shm"
	if unix.Statfs(memory, &st) != nil || st.Type != unix.TMPFS_MAGIC {
		t.Log(memory + " is no tmpfs here")
		return
	}
	dir, err := os.MkdirTemp(memory, "bench-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, _, err := makeWorkDir(dir); !errors.Is(err, errFilesystem) {
		t.Errorf("%s: %v", dir, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Error("the refused directory is not empty")
	}
}
