package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins every environment variable that is read.
const EnvPrefix = "GODWIT_"

// configBytesMax bounds the file, so that a wrong path can't fill the memory.
const configBytesMax = 1 << 20

// Load returns the defaults, overlaid by the file (path "" reads none) and the
// environment (entries of the form NAME=value). It does not validate: flags
// may come on top.
func Load(path string, environ []string) (Config, error) {
	cfg := Default()
	if path != "" {
		if err := cfg.readFile(path); err != nil {
			return cfg, err
		}
	}
	if err := cfg.readEnv(environ); err != nil {
		return cfg, err
	}
	return cfg, nil
}

func (cfg *Config) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, configBytesMax+1))
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > configBytesMax {
		return fmt.Errorf("%s: larger than %d bytes; this is no configuration", path, configBytesMax)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(cfg); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %s", path, yamlSentence(data, err))
	}
	if err := decoder.Decode(new(Config)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than one YAML document", path)
	}
	return nil
}

var unknownField = regexp.MustCompile(`field (\S+) not found in type node\.\w+`)

// yamlSentence turns the library's report into one line in the reader's terms:
// the library names neither the field of a bad value nor always its line.
func yamlSentence(data []byte, err error) string {
	sentences := badFields(data)
	located := len(sentences) > 0
	text := unknownField.ReplaceAllString(err.Error(), "unknown field $1")
	text = strings.TrimPrefix(text, "yaml: unmarshal errors:\n")
	text = strings.TrimPrefix(text, "yaml: ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !located || strings.Contains(line, "unknown field") || strings.Contains(line, "already defined") {
			sentences = append(sentences, line)
		}
	}
	return strings.Join(sentences, "; ")
}

// badFields decodes the file value by value and says which do not fit.
func badFields(data []byte) (sentences []string) {
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil || len(document.Content) != 1 {
		return nil
	}
	cfg := Default()
	walk(reflect.ValueOf(&cfg).Elem(), "", EnvPrefix, func(f field) {
		value := document.Content[0]
		for name := range strings.SplitSeq(f.path, ".") {
			value = yamlChild(value, name)
		}
		if value == nil {
			return
		}
		if err := value.Decode(f.value.Addr().Interface()); err != nil {
			sentences = append(sentences, fmt.Sprintf("line %d: %s: %s", value.Line, f.path, badValue(f.value.Type(), value.Value, err)))
		}
	})
	return sentences
}

// yamlChild returns the value of a name in a mapping, or nil.
func yamlChild(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// badValue says what a value should be, without the words of Go. Our own types
// say it themselves.
func badValue(t reflect.Type, value string, err error) string {
	want := ""
	switch {
	case t == reflect.TypeFor[Size]() || t == reflect.TypeFor[Duration]():
		return fmt.Sprint(err)
	case t.Kind() == reflect.Bool:
		want = "true or false"
	case t.Kind() == reflect.Int:
		want = "a whole number"
	case t.Kind() == reflect.Uint32:
		want = "a whole number from 0 on"
	case t.Kind() == reflect.Slice:
		want = "a list"
	default:
		want = "a text"
	}
	return fmt.Sprintf("%q is not %s", value, want)
}

// readEnv overlays the variables one by one, so that a complaint can name the
// variable. An empty one counts as not set.
func (cfg *Config) readEnv(environ []string) error {
	var bad complaints
	values := env.ToMap(environ)
	walk(reflect.ValueOf(cfg).Elem(), "", EnvPrefix, func(f field) {
		value := values[f.env]
		if value == "" {
			return
		}
		err := env.ParseWithOptions(cfg, env.Options{Environment: map[string]string{f.env: value}, Prefix: EnvPrefix})
		var parse env.ParseError
		if errors.As(err, &parse) {
			err = parse.Err
		}
		bad.unless(err == nil, f.env, "(%s): %s", f.path, badValue(f.value.Type(), value, err))
	})
	return errors.Join(bad...)
}

// UnknownEnv returns the names in environ that look like ours and are read by
// nobody: most likely misspelt.
func UnknownEnv(environ []string) (unknown []string) {
	var known []string
	cfg := Default()
	walk(reflect.ValueOf(&cfg).Elem(), "", EnvPrefix, func(f field) { known = append(known, f.env) })
	for _, entry := range environ {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, EnvPrefix) && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// field is one value of the configuration.
type field struct {
	path  string // limits.body
	env   string // GODWIT_LIMITS_BODY
	doc   string
	value reflect.Value
}

// walk calls leaf for each value in the order of declaration.
func walk(v reflect.Value, path, envPrefix string, leaf func(field)) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("yaml")
		switch {
		case name == "-":
		case v.Field(i).Kind() == reflect.Struct:
			walk(v.Field(i), path+name+".", envPrefix+tag.Get("envPrefix"), leaf)
		default:
			leaf(field{path + name, envPrefix + tag.Get("env"), tag.Get("doc"), v.Field(i)})
		}
	}
}

// Print writes the configuration as a YAML file that Load reads back, each
// value under its documentation.
func (cfg *Config) Print(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Godwit's configuration, as `godwit config print` writes it: every setting. In\n# production dev is false and auth is filled in.\n\n")
	section := ""
	sections := map[string]string{}
	for i, t := 0, reflect.TypeFor[Config](); i < t.NumField(); i++ {
		sections[t.Field(i).Tag.Get("yaml")] = t.Field(i).Tag.Get("doc")
	}
	walk(reflect.ValueOf(cfg).Elem(), "", EnvPrefix, func(f field) {
		indent, name := "", f.path
		if parent, child, nested := strings.Cut(f.path, "."); nested {
			if parent != section {
				fmt.Fprintf(&b, "\n# %s\n%s:\n", sections[parent], parent)
				section = parent
			}
			indent, name = "  ", child
		}
		fmt.Fprintf(&b, "%s# %s\n%s%s: %s\n", indent, f.doc, indent, name, yamlValue(f.value))
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// yamlValue writes a value on one line; YAML's library knows when to quote.
func yamlValue(v reflect.Value) string {
	value := v.Interface()
	if s, ok := value.(fmt.Stringer); ok {
		value = s.String()
		if size, ok := v.Interface().(Size); ok && !strings.HasSuffix(size.String(), "B") {
			value = int64(size) // a number needs no quotes
		}
	}
	if list, ok := value.([]string); ok {
		quoted := make([]string, len(list))
		for i, item := range list {
			quoted[i] = fmt.Sprintf("%q", item)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	out, err := yaml.Marshal(value)
	if err != nil {
		panic("BUG: a configuration value that YAML can't write: " + err.Error())
	}
	return strings.TrimSpace(string(out))
}
