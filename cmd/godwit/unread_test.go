package main

import (
	"os"
	"testing"
)

func TestUnreadPipeIsNoticedWithoutWriting(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	noticed := make(chan struct{})
	whenUnread(&output{writer}, func() { close(noticed) })
	select {
	case <-noticed:
		t.Fatal("a pipe that is still read was given up")
	default:
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	<-noticed
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
}
