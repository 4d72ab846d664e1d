package edge

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/http1"
)

func TestTheTableOfFixedLimitsIsTheCode(t *testing.T) {
	page, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	_, fixed, found := strings.Cut(string(page), "## Fixed")
	if !found {
		t.Fatal("the page has no section of fixed limits")
	}
	cfg := Config{Listen: "127.0.0.1:0", Chat: &fakeChat{}, Verifier: fakeVerifier{}}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"request head":          http1.HeadMaxBytes,
		"header fields":         http1.HeadersMax,
		"token":                 tokenBytesMax,
		"fragments":             fragmentsMax,
		"control frames":        controlsPerTick,
		"sent ahead":            waitingExtra,
		"unacknowledged bytes":  cfg.WindowBytesMax,
		"answer to a connect":   int(cfg.AnswerTimeout / time.Second),
		"after a close":         ignoredBytesMax,
		"tokens in the queue":   cfg.VerifyQueueMax,
		"poll":                  pollFramesMax,
		"frames beside the log": pollTellsMax,
		"places":                godwit.ChannelPlacesMax,
		"typing and presence":   whisperWaitingMax,
	}
	for line := range strings.Lines(fixed) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 {
			continue
		}
		name := strings.TrimSpace(cells[1])
		if name == "Limit" || strings.HasPrefix(name, "-") {
			continue
		}
		value, err := strconv.Atoi(strings.TrimSpace(cells[3]))
		if code, ok := want[name]; err != nil || !ok || code != value {
			t.Errorf("%s: the page says %s, the code %d", name, strings.TrimSpace(cells[3]), code)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not on the page", name)
	}
	if tickMS != 250 {
		t.Error("control frames are not counted in 250 ms")
	}
}
