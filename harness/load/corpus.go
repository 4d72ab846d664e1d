package load

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"slices"
	"unicode/utf8"
)

//go:embed corpus.txt
var builtinCorpus []byte

// bodyBytesMax keeps a text with its header under the server's limits.body.
const bodyBytesMax = 8 << 10

// Corpus is the texts messages are made of, and the sizes of the payloads that
// come of them.
type Corpus struct {
	Name          string
	texts         []string
	P50, P99, Max int // bytes of a payload, header included
}

// ReadCorpus reads a file with a text a line; "" is the built-in one, sentences
// of this project's own documents.
func ReadCorpus(path string) (*Corpus, error) {
	c := &Corpus{Name: path}
	data := builtinCorpus
	if path == "" {
		c.Name = "built-in"
	} else {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("read the corpus: %w", err)
		}
	}
	var sizes []int
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 || len(text) > bodyBytesMax || !utf8.Valid(text) {
			continue
		}
		c.texts = append(c.texts, string(text))
		sizes = append(sizes, payloadOverhead+len(text))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	if len(sizes) == 0 {
		return nil, fmt.Errorf("the corpus %s has no line of 1 to %d bytes of UTF-8", c.Name, bodyBytesMax)
	}
	slices.Sort(sizes)
	c.P50, c.P99, c.Max = sizes[len(sizes)/2], sizes[len(sizes)*99/100], sizes[len(sizes)-1]
	return c, nil
}

// text returns the body of a message; a retry gets the same one.
func (c *Corpus) text(sender, number uint32) string {
	x := uint64(sender)<<32 | uint64(number)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return c.texts[(x^x>>31)%uint64(len(c.texts))]
}
