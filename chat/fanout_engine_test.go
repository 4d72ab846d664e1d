package chat_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

func (n *node) friends(members int) (conv string) {
	f := godwit.Group{Do: []byte(godwit.GroupCreate), Name: []byte("Friends"), HasName: true}
	for i := range members - 1 {
		f.Users = append(f.Users, fmt.Appendf(nil, "user%06d", i))
	}
	return string(n.group("alice", f).Conv)
}

// Apply reads no row that its command does not name, also of a fan-out: the engine
// checks that.
func TestFanoutOnTheEngineReachesAllOverARestart(t *testing.T) {
	const members, messages = 70, 12
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) {
			fs := vfs.NewMem()
			n := openNode(t, fs, groups)
			conv := n.friends(members)
			for i := range messages {
				from := godwit.UserID(fmt.Sprintf("user%06d", i))
				if r := n.send(from, godwit.UserID(conv), fmt.Sprint("m", i), fmt.Sprint(i)); r.Seq != godwit.Seq(i+2) || r.GSeq != r.Seq {
					t.Fatalf("message %d is answered %+v", i, r)
				}
				if i%4 == 3 { // what is under way goes on afterwards
					n.close()
					n = openNode(t, fs, groups)
				}
			}
			defer func() { n.close() }()
			for i := range members - 1 {
				lines := n.log(godwit.UserID(fmt.Sprintf("user%06d", i)), messages+1)
				for m, line := range lines[1:] {
					var seq, at int
					var mid, from, in, body string
					if _, err := fmt.Sscan(line, &seq, &mid, &from, &in, &at, &body); err != nil || in != conv || body != fmt.Sprint(m) {
						t.Fatalf("entry %d of member %d is %q: %v", m+2, i, line, err)
					}
				}
			}
		})
	}
}

// benchFanoutEngine sends messages to a group one after the other and waits until
// all members' logs have them. cpu is of the whole process. Groups are of at most
// 500 members: larger ones are channels.
func benchFanoutEngine(b *testing.B, members int) {
	n := openNode(b, vfs.NewMem(), 1)
	defer n.close()
	conv := n.friends(members)
	pointers := func(target uint64) {
		for n.service.Stats().Pointers < target {
			time.Sleep(time.Millisecond / 4)
		}
	}
	pointers(uint64(members))
	want := n.service.Stats().Pointers
	busy := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start, sent := busy(), 0
	for b.Loop() {
		for range 32 {
			n.send("alice", godwit.UserID(conv), fmt.Sprint("m", sent), "a message of some thirty bytes.")
			sent++
		}
		want += 32 * uint64(members)
		pointers(want)
	}
	b.ReportMetric(float64(busy()-start)/float64(sent*members), "cpu-ns/pointer")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent*members), "ns/pointer")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkFanoutEngine10(b *testing.B)  { benchFanoutEngine(b, 10) }
func BenchmarkFanoutEngine100(b *testing.B) { benchFanoutEngine(b, 100) }
func BenchmarkFanoutEngine500(b *testing.B) { benchFanoutEngine(b, 500) }
