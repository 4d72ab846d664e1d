package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// whenUnread calls then when out is a pipe or socket that nobody reads any
// more: a command that waits for something to print would not notice by
// itself. Its goroutine ends with the process.
func whenUnread(out io.Writer, then func()) {
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
