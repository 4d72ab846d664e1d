package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// whenUnread calls then when out is a pipe or socket that nobody reads any
// more: a command that waits for something to print would not notice by
// itself. Its goroutine ends with the process.
func whenUnread(out io.Writer, then func()) {
	if wrapped, ok := out.(*output); ok {
		out = wrapped.Writer
	}
	file, ok := out.(*os.File)
	if !ok {
		return
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return
	}
	go func() {
		gone := []unix.PollFd{{Fd: int32(file.Fd())}} // POLLERR and POLLHUP come unasked
		for {
			n, err := unix.Poll(gone, -1)
			if n > 0 {
				then()
			}
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
}

// errUnread: nobody reads standard output any more.
var errUnread = errors.New("standard output is not read")

// output marks its broken pipe: one elsewhere, such as a lost connection, is a
// failure like others.
type output struct{ io.Writer }

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = fmt.Errorf("%w: %w", errUnread, err)
	}
	return n, err
}
