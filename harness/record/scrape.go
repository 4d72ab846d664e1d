package record

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of a scrape: a server that answers with more is not ours.
const (
	scrapeMaxBytes   = 8 << 20
	scrapeMaxSeries  = 100_000
	scrapeTimeout    = 10 * time.Second
	scrapeShownBytes = 200
)

// Scrape fetches a server's /metrics. The keys are series as the server writes
// them, labels included: `godwit_messages_total{kind="text"}`. NaN and
// infinite values are left out, since the result's JSON can't hold them.
func Scrape(ctx context.Context, client *http.Client, url string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, scrapeMaxBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("scrape %s: %w", url, err)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("scrape %s: %s: %.*q", url, response.Status, scrapeShownBytes, text)
	case len(text) > scrapeMaxBytes:
		return nil, fmt.Errorf("scrape %s: the answer is over %d MiB", url, scrapeMaxBytes>>20)
	}
	metrics, err := ParseMetrics(string(text))
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", url, err)
	}
	return metrics, nil
}

// ParseMetrics reads the Prometheus text format, version 0.0.4.
func ParseMetrics(text string) (map[string]float64, error) {
	metrics := map[string]float64{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, err := parseMetric(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if _, double := metrics[key]; double {
			return nil, fmt.Errorf("line %d: %s stands twice", number, key)
		}
		if value-value != 0 { // NaN or infinite
			continue
		}
		if len(metrics) == scrapeMaxSeries {
			return nil, fmt.Errorf("line %d: over %d series", number, scrapeMaxSeries)
		}
		metrics[key] = value
	}
	return metrics, nil
}

// parseMetric splits `name{labels} value [timestamp]`.
func parseMetric(line string) (key string, value float64, err error) {
	end := 0
	for end < len(line) && nameByte(line[end], end) {
		end++
	}
	if end == 0 {
		return "", 0, fmt.Errorf("no metric's name: %.*q", scrapeShownBytes, line)
	}
	if end < len(line) && line[end] == '{' {
		length := labelsLength(line[end:])
		if length < 0 {
			return "", 0, fmt.Errorf("labels without an end: %.*q", scrapeShownBytes, line)
		}
		end += length
	}
	fields := strings.Fields(line[end:])
	if len(fields) < 1 || len(fields) > 2 {
		return "", 0, fmt.Errorf("%d words after the name, want a value: %.*q", len(fields), scrapeShownBytes, line)
	}
	value, err = strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return "", 0, fmt.Errorf("no value: %.*q", scrapeShownBytes, line)
	}
	return line[:end], value, nil
}

func nameByte(c byte, at int) bool {
	return c == '_' || c == ':' || 'a' <= c|0x20 && c|0x20 <= 'z' || at > 0 && '0' <= c && c <= '9'
}

// labelsLength returns the length of `{…}`; braces in quotes don't end it. -1:
// it has no end.
func labelsLength(text string) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i + 1
		}
	}
	return -1
}
