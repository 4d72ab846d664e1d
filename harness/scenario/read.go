package scenario

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What can be wrong with a scenario.
var (
	ErrInvalid = errors.New("the scenario is refused")
	ErrUnknown = errors.New("there is no such scenario")
)

//go:embed scenarios/*.yaml
var files embed.FS

// file is a scenario as written, with what --quick changes in it.
type file struct {
	Scenario `yaml:",inline"`
	Quick    yaml.Node `yaml:"quick"`
}

// Names returns the scenarios that come with the program, sorted.
func Names() []string {
	entries, err := fs.ReadDir(files, "scenarios")
	if err != nil {
		panic("BUG: embedded scenarios: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Open returns a scenario by its name, or from a file if name ends in .yaml,
// after the changes: fields of the schema in YAML, such as "rate_per_s: 500".
func Open(name string, quick bool, changes ...string) (Scenario, error) {
	var data []byte
	var err error
	if path.Ext(name) == ".yaml" {
		data, err = os.ReadFile(name)
	} else if data, err = files.ReadFile("scenarios/" + name + ".yaml"); err != nil {
		return Scenario{}, fmt.Errorf("%w: %q; there are %s, or name a .yaml file", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	if err != nil {
		return Scenario{}, fmt.Errorf("read the scenario: %w", err)
	}
	return Parse(data, quick, changes...)
}

// Parse reads a scenario and checks it. With quick the file's quick section wins
// over the rest of it; each of changes wins over all before.
func Parse(data []byte, quick bool, changes ...string) (Scenario, error) {
	f := file{Scenario: defaults()}
	if err := strict(data, &f); err != nil {
		return Scenario{}, err
	}
	// Both are checked: a quick section that is never used must not rot.
	short := f.Scenario
	if !f.Quick.IsZero() {
		section, err := yaml.Marshal(&f.Quick)
		if err != nil {
			return Scenario{}, fmt.Errorf("%w: quick: %w", ErrInvalid, err)
		}
		if err := strict(section, &short); err != nil {
			return Scenario{}, fmt.Errorf("in the section quick: %w", err)
		}
	}
	for _, s := range []*Scenario{&f.Scenario, &short} {
		if err := s.Validate(); err != nil {
			return Scenario{}, err
		}
	}
	s := f.Scenario
	if quick {
		s = short
	}
	for _, change := range changes {
		if err := strict([]byte(change), &s); err != nil {
			return Scenario{}, fmt.Errorf("%q: %w", change, err)
		}
	}
	return s, s.Validate()
}

// strict decodes one YAML document over v and refuses fields v doesn't have.
func strict(data []byte, v any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s", ErrInvalid, sentence(err))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: a scenario is one YAML document, and more follows it", ErrInvalid)
	}
	return nil
}

var unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)

// sentence turns the library's report into one line in the reader's terms.
func sentence(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:\n")
	text = unknownField.ReplaceAllString(text, "there is no field $1")
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}
