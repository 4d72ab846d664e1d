package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

func TestOptionsAreReadAndJudged(t *testing.T) {
	f := func(line string, want func(o *options) bool) {
		t.Helper()
		o, err := parseOptions(strings.Fields(line), io.Discard)
		if err != nil || !want(&o) {
			t.Errorf("%s: %+v, %v", line, o, err)
		}
	}
	f("", func(o *options) bool {
		return o.Edges == 3 && o.Sessions == 5000 && o.Rate == 1000 && o.Outage == time.Minute && o.Slow == 300*time.Millisecond && o.Router == routerTiKV
	})
	f("-quick", func(o *options) bool { return o.Sessions == 200 && o.Outage == 5*time.Second && o.Rate == 1000 })
	f("-quick -sessions 30 -outage 9s", func(o *options) bool { return o.Sessions == 30 && o.Outage == 9*time.Second })
	f("--quick --json", func(o *options) bool { return o.Quick && o.JSON })
	f("-edges 4 -report a/b -quick", func(o *options) bool { return o.given == " -edges=4 -quick=true" })
}

func TestWrongOptionsAreRefusedWithWhatIsMeant(t *testing.T) {
	f := func(line, says string) {
		t.Helper()
		if _, err := parseOptions(strings.Fields(line), io.Discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", line, err)
		}
	}
	f("-edges 1", "2 to 16")
	f("-sessions 9000", "at most 19000")
	f("-rate 0", "-rate")
	f("-outage 5ms", "at least 1s")
	f("-router local", "tikv or none")
	f("-plant flood", "lose, dup or reorder")
	f("quick", "unknown argument")
}

func TestHelpHasExamples(t *testing.T) {
	var b strings.Builder
	if _, err := parseOptions([]string{"--help"}, &b); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"examples:", "-quick -json", "-netns", "-plant"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the help does not mention %s", want)
		}
	}
}
