package record

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func plantFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostFactsReadProc(t *testing.T) {
	root := t.TempDir()
	plantFile(t, root+"/cpuinfo", "processor\t: 0\nmodel\t\t: 63\nmodel name\t: Fast CPU @ 3.00GHz\n\nprocessor\t: 1\nmodel name\t: Other\n")
	plantFile(t, root+"/meminfo", "MemTotal:        4096000 kB\nMemFree: 1 kB\n")
	plantFile(t, root+"/sys/kernel/osrelease", "6.18.1-test\n")
	plantFile(t, root+"/sys/net/core/somaxconn", "4096\n")
	plantFile(t, root+"/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
	got, err := hostFacts(root)
	if err != nil {
		t.Fatal(err)
	}
	if got.CPU != "Fast CPU @ 3.00GHz" || got.MemoryMiB != 4000 || !strings.HasSuffix(got.Kernel, " 6.18.1-test") || got.Cores < 1 || got.Go == "" || got.GOMAXPROCS < 1 {
		t.Errorf("%+v", got)
	}
	if want := map[string]string{"net.core.somaxconn": "4096", "net.ipv4.ip_local_port_range": "32768 60999"}; !reflect.DeepEqual(got.Sysctl, want) {
		t.Errorf("sysctl %v", got.Sysctl)
	}
}

func TestHostFactsNamesWhatIsMissing(t *testing.T) {
	root := t.TempDir()
	plantFile(t, root+"/cpuinfo", "processor: 0\n")
	plantFile(t, root+"/meminfo", "MemTotal: lots\n")
	got, err := hostFacts(root)
	if err == nil || got.Cores < 1 || got.Sysctl == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, want := range []string{"host's model name", "host's memory", "host's kernel"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestHostFactsOfThisMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the facts are of Linux")
	}
	got, err := HostFacts(t.TempDir())
	if err != nil && !strings.Contains(err.Error(), "host's model name") { // some machines have none
		t.Fatal(err)
	}
	if got.OpenFiles == 0 || got.FileSystem == "" || got.MemoryMiB == 0 || got.Sysctl["fs.file-max"] == "" {
		t.Errorf("%+v", got)
	}
	if _, err := HostFacts(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("the file system of an absent folder is known")
	}
}

func TestFileSystemNames(t *testing.T) {
	f := func(magic int64, want string) {
		t.Helper()
		if got := fileSystemName(magic); got != want {
			t.Errorf("%x: %q, want %q", magic, got, want)
		}
	}
	f(0xef53, "ext4")
	f(0x58465342, "xfs")
	f(int64(int32(-0x6edc97c2)), "btrfs") // statfs's field is signed on 32-bit systems
	f(0x1234, "0x1234")
}

// stepClock advances by the next of the steps whenever a write is made durable.
func probeWith(ctx context.Context, steps func(round int) time.Duration, fail func(round int) error) (p50 float64, rounds int, err error) {
	var now time.Duration
	p50, err = probe(ctx, func(round int) error {
		rounds++
		now += steps(round)
		return fail(round)
	}, func() time.Duration { return now })
	return p50, rounds, err
}

func never(int) error { return nil }

func TestFsyncProbeTakesTheMedian(t *testing.T) {
	p50, rounds, err := probeWith(context.Background(), func(round int) time.Duration {
		if round%3 == 0 {
			return 5 * time.Millisecond // a third is slow
		}
		return time.Duration(round) * time.Microsecond
	}, never)
	// 200 rounds: 134 fast ones of 1…200 µs; the 100th of all is the fast one of 149 µs.
	if err != nil || rounds != fsyncRounds || p50 != 149 {
		t.Errorf("p50 %v µs of %d rounds, %v", p50, rounds, err)
	}
}

func TestFsyncProbeIsBounded(t *testing.T) {
	f := func(each time.Duration, want int) {
		t.Helper()
		p50, rounds, err := probeWith(context.Background(), func(int) time.Duration { return each }, never)
		if err != nil || rounds != want || p50 != float64(each/time.Microsecond) {
			t.Errorf("%v each: p50 %v µs of %d rounds, %v; want %d", each, p50, rounds, err, want)
		}
	}
	f(time.Millisecond, fsyncRounds)
	f(100*time.Millisecond, 30)
	f(time.Second, fsyncRoundsMin)
}

func TestFsyncProbeStopsAtAnError(t *testing.T) {
	broken := errors.New("input/output error")
	ms := func(int) time.Duration { return time.Millisecond }
	_, rounds, err := probeWith(context.Background(), ms, func(round int) error {
		if round == 3 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || rounds != 3 {
		t.Errorf("after %d rounds: %v", rounds, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, rounds, err = probeWith(ctx, ms, func(int) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || rounds != 1 {
		t.Errorf("cancelled, after %d rounds: %v", rounds, err)
	}
}

func TestFsyncProbeLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	p50, err := FsyncProbe(context.Background(), dir)
	if err != nil || p50 <= 0 {
		t.Errorf("p50 %v µs, %v", p50, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := FsyncProbe(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := FsyncProbe(context.Background(), filepath.Join(dir, "absent")); err == nil {
		t.Error("probed an absent folder")
	}
}

func TestCommitIsTheBuildsMark(t *testing.T) {
	f := func(want string, settings ...debug.BuildSetting) {
		t.Helper()
		if got := builtFrom(settings); got != want {
			t.Errorf("%v: %q, want %q", settings, got, want)
		}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}
	f("unknown")
	f("abc", revision, debug.BuildSetting{Key: "vcs.modified", Value: "false"})
	f("abc-dirty", debug.BuildSetting{Key: "vcs.modified", Value: "true"}, revision)
}

func TestCommitAsksGitOnlyInThisModule(t *testing.T) {
	const module = "example.org/mine"
	answers := map[string]string{"show": "module example.org/mine\n\ngo 1.26\n", "rev-parse": "0123abc\n", "status": ""}
	ask := func(args ...string) (string, error) {
		answer, ok := answers[args[0]]
		if !ok {
			return "", errors.New("git: " + args[0])
		}
		return answer, nil
	}
	f := func(want string) {
		t.Helper()
		if got := checkedOut(module, ask); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("0123abc")
	answers["status"] = " M a.go\n"
	f("0123abc-dirty")
	delete(answers, "status") // not known to be clean
	f("0123abc-dirty")
	answers["show"] = "module example.org/mine/other\n"
	f("unknown")
	delete(answers, "show")
	f("unknown")
}
