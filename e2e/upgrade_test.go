package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// edgeProcess is an element of GET /v1/edges.
type edgeProcess struct {
	Node string
	PID  int
}

func (s *server) edges() (list []edgeProcess) {
	s.t.Helper()
	answer, err := http.Get("http://" + s.ops + "/v1/edges")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// call posts one send on a connection of its own.
func (s *server) call(token, cid string) error {
	body := fmt.Sprintf(`{"id":1,"send":{"to":"alice","cid":%q,"text":"x"}}`, cid)
	request, err := http.NewRequest("POST", "http://"+s.listen+"/v1/rpc?device=d", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Close = true
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 || !bytes.Contains(got, []byte(`"state":"stored"`)) {
		return fmt.Errorf("status %d, %s %v", answer.StatusCode, got, err)
	}
	return nil
}

// TestEdgeProcessesAreReplacedOneByOneWithoutRefusingAnyone: this is an upgrade:
// each edge process is told to go and comes back from the file on the disk.
func TestEdgeProcessesAreReplacedOneByOneWithoutRefusingAnyone(t *testing.T) {
	s := newServer(t, "", "GODWIT_EDGES=2", "GODWIT_DRAIN_SPREAD=0s", "GODWIT_DRAIN_AFTER=0s")
	s.start()
	token := s.tokens("bob")["bob"]
	// The system itself may reset a client whose handshake ends in the moment a listener
	// is closed: docs/operations.md says how to make that a few instructions long.
	const resetsMax = 6
	var resets atomic.Int64
	stored, failed, stop := make(chan struct{}), make(chan error, 3), make(chan struct{})
	var clients sync.WaitGroup
	for w := range 3 {
		clients.Go(func() {
			for i := 0; ; i++ {
				err := s.call(token, fmt.Sprintf("c-%d-%d", w, i))
				if errors.Is(err, syscall.ECONNRESET) && resets.Add(1) <= resetsMax {
					continue
				}
				if err != nil {
					failed <- err
					return
				}
				select {
				case stored <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
	}
	defer clients.Wait()
	defer close(stop)
	more := func(sends int) {
		t.Helper()
		for range sends {
			select {
			case <-stored:
			case err := <-failed:
				t.Fatalf("%v\n%s", err, s.stderr)
			case <-time.After(patience):
				t.Fatalf("no send was answered:\n%s", s.stderr)
			}
		}
	}
	more(50)
	old := s.edges()
	if len(old) != 2 {
		t.Fatalf("%d edge processes, want 2", len(old))
	}
	for _, edge := range old {
		if err := syscall.Kill(edge.PID, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for !replaced(s.edges(), edge.PID) {
			more(5)
		}
		more(50)
	}
}

// replaced reports whether there are two edge processes and that one is gone.
func replaced(now []edgeProcess, pid int) bool {
	for _, e := range now {
		if e.PID == pid {
			return false
		}
	}
	return len(now) == 2
}
