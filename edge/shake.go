package edge

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

// shake is a TLS handshake under way: its goroutine computes and waits for the
// client, the loop carries the bytes between it and the socket. It ends with the
// handshake, or with the connection.
type shake struct {
	tell func(over uint32) // has the loop look; over: 1 with the last word
	cpu  chan struct{}     // held while computing

	mu   sync.Mutex
	more sync.Cond // in has grown, or gone was set
	in   []byte    // from the client; bounded by feed
	out  []byte    // to the client; a handshake is a few KiB
	told bool      // the loop knows of out
	gone bool      // the connection is closed
	err  error     // how it ended
}

// shakesMax bounds the handshakes of one loop that are under way, of some 20 KiB
// each; more wait for their turn, each no longer than Config.HeadTimeout.
const shakesMax = 2048

var errGone = errors.New("the client is gone")

func (k *shake) read(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.in) == 0 && !k.gone { // no core is held while waiting
		<-k.cpu
		for len(k.in) == 0 && !k.gone {
			k.more.Wait()
		}
		k.mu.Unlock()
		k.cpu <- struct{}{}
		k.mu.Lock()
	}
	if k.gone {
		return 0, errGone
	}
	n := copy(b, k.in)
	k.in = k.in[n:]
	return n, nil
}

func (k *shake) write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return 0, net.ErrClosed
	}
	k.out = append(k.out, b...)
	if !k.told {
		k.told = true
		k.tell(0)
	}
	return len(b), nil
}

// run is the goroutine.
func (k *shake) run(secure *tls.Conn) {
	k.cpu <- struct{}{}
	err := secure.Handshake()
	<-k.cpu
	k.mu.Lock()
	k.err = err
	k.mu.Unlock()
	k.tell(1)
}

// feed hands over what the client sent; false when it sends more than fits.
func (k *shake) feed(b []byte, bytesMax int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.in)+len(b) > bytesMax {
		return false
	}
	k.in = append(k.in, b...)
	k.more.Signal()
	return true
}

// leave tells the goroutine that the connection is closed.
func (k *shake) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	k.more.Signal()
}

// take returns what is to be written, and what was not read when all is over.
func (k *shake) take() (out, rest []byte, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out, k.out, k.told = k.out, nil, false
	return out, k.in, k.err
}
