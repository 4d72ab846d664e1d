package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// corpusDir is where Debian's packages fortunes and fortunes-zh put their texts.
const corpusDir = "/usr/share/games/fortunes"

// corpusFiles mixes languages: English prose and code, and Chinese poems, whose
// texts carry multi-byte characters and terminal escapes.
var corpusFiles = []string{"literature", "computers", "linux", "love", "art", "chinese", "tang300", "song100"}

// corpus reads real texts, each short enough for one message.
func corpus(t testing.TB) []string {
	t.Helper()
	var texts []string
	for _, name := range corpusFiles {
		data, err := os.ReadFile(filepath.Join(corpusDir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range strings.Split(string(data), "\n%\n") {
			if text = strings.TrimSpace(text); text != "" && len(text) <= 4096 && utf8.ValidString(text) {
				texts = append(texts, text)
			}
		}
	}
	if len(texts) < 2000 {
		t.Fatalf("only %d texts in %s: install the Debian packages fortunes and fortunes-zh (make test does, as root)", len(texts), corpusDir)
	}
	rand.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	return texts
}
