package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/godwit-im/godwit/harness/result"
)

//go:embed report.html.tmpl
var htmlSource string

var htmlPage = template.Must(template.New("report").Parse(htmlSource))

// WriteHTML writes one page about the runs, in their order. The page needs no
// network, no script and no other file.
func WriteHTML(w io.Writer, runs []*result.Run) error {
	if len(runs) == 0 {
		return ErrNoRuns
	}
	views := make([]*runView, len(runs))
	for i, run := range runs {
		views[i] = viewRun(run, i+1)
	}
	var page bytes.Buffer // whole or not at all
	if err := htmlPage.Execute(&page, views); err != nil {
		return fmt.Errorf("fill the report's template: %w", err)
	}
	if _, err := page.WriteTo(w); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
