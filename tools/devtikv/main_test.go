package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestRunServesUntilItsEnd(t *testing.T) {
	o, err := parse([]string{"--pd", "127.0.0.1:0", "--regions", "4", "--outage", "1h"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, writer := io.Pipe()
	outages := make(chan os.Signal, 1)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, outages, writer) }()
	lines := bufio.NewScanner(reader)
	said := make(map[string]string)
	for len(said) < 3 && lines.Scan() {
		name, address, _ := strings.Cut(lines.Text(), " on ")
		said[name] = address
	}
	if said["pd"] == "" || strings.HasSuffix(said["pd"], ":0") || said["tikv"] == "" {
		t.Fatalf("it says %v", said)
	}
	outages <- syscall.SIGUSR1
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, said["stats"]+"/stats", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the counters are answered %d", response.StatusCode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, arguments := range [][]string{{"--outage", "-1s"}, {"--none"}, {"extra"}, {"--undetermined", "x"}} {
		if _, err := parse(arguments, io.Discard); err == nil {
			t.Errorf("%q is accepted", arguments)
		}
	}
	var help strings.Builder
	if _, err := parse([]string{"--help"}, &help); err == nil || !strings.Contains(help.String(), "curl -d") || !strings.Contains(help.String(), "-two-phase") {
		t.Errorf("the help is %q (%v)", help.String(), err)
	}
}
