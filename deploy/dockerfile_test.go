package deploy

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	dockerfile = "docker/Dockerfile"
	ignoreFile = "docker/Dockerfile.dockerignore"
	context    = ".." // of the build: the repository's root
)

// instruction is one of a Dockerfile, such as COPY with its arguments.
type instruction struct {
	word  string
	flags map[string]string // --from=build
	args  string
	stage int // 0 is the first FROM's
}

// parseDockerfile reads the subset without escapes, here documents and directives.
func parseDockerfile(text string) (list []instruction, err error) {
	stage := -1
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, args, _ := strings.Cut(line, " ")
		in := instruction{word: word, flags: map[string]string{}, args: strings.TrimSpace(args)}
		if word == "FROM" {
			stage++
		}
		in.stage = stage
		for strings.HasPrefix(in.args, "--") {
			flag, rest, _ := strings.Cut(in.args, " ")
			name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			in.flags[name], in.args = value, strings.TrimSpace(rest)
		}
		if stage < 0 || word != strings.ToUpper(word) || in.args == "" {
			return nil, fmt.Errorf("what is %q?", line)
		}
		list = append(list, in)
	}
	return list, nil
}

// exec returns the arguments of an instruction in exec form; a shell is in no
// image of ours.
func (in instruction) exec() (argv []string, ok bool) {
	_, list, found := strings.Cut("CMD "+in.args, "CMD [")
	if !found || in.word != "HEALTHCHECK" && !strings.HasPrefix(in.args, "[") {
		return nil, false
	}
	if in.word == "HEALTHCHECK" {
		_, list, _ = strings.Cut(in.args, "[")
	}
	err := json.Unmarshal([]byte("["+list), &argv)
	return argv, err == nil && len(argv) > 0
}

// ignored reports whether a path of the context is kept from the build. It knows
// names from the root, ** before a name, and * within one.
func ignored(patterns []string, name string) bool {
	for _, pattern := range patterns {
		for dir := name; dir != "."; dir = path.Dir(dir) {
			match := dir
			if rest, anywhere := strings.CutPrefix(pattern, "**/"); anywhere {
				pattern, match = rest, path.Base(dir)
			}
			if ok, _ := path.Match(pattern, match); ok {
				return true
			}
		}
	}
	return false
}

func ignorePatterns(t *testing.T) (patterns []string) {
	t.Helper()
	for line := range strings.Lines(read(t, ignoreFile)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	return patterns
}

var secretName = regexp.MustCompile(`(?i)(secret|token|password|key)[A-Z_]*=`)

// checkDockerfile says what is wrong with one; exists tells of paths of the context.
func checkDockerfile(list []instruction, exists func(name string) bool) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var stages []string
	last := list[len(list)-1].stage
	have := map[string]instruction{}
	for _, in := range list {
		words := strings.Fields(in.args)
		switch in.word {
		case "FROM":
			name := ""
			if len(words) == 3 && words[1] == "AS" {
				name = words[2]
			}
			stages = append(stages, name)
			if words[0] != "scratch" && !regexp.MustCompile(`^[a-z/]+:[0-9]+\.[0-9]+\.[0-9]+-[a-z]+$`).MatchString(words[0]) {
				complain("the image %s is not pinned", words[0])
			}
		case "COPY":
			for _, source := range words[:len(words)-1] {
				if from, stage := in.flags["from"]; stage {
					if !slices.Contains(stages, from) || !path.IsAbs(source) {
						complain("COPY --from=%s %s", from, source)
					}
				} else if !exists(source) {
					complain("there is no %s to copy", source)
				}
			}
		case "ENV", "ARG":
			if secretName.MatchString(in.args) {
				complain("a secret would stand in the image: %s", in.args)
			}
		case "EXPOSE":
			if slices.Contains(words, "8081") {
				complain("the ops address is exposed")
			}
		case "ENTRYPOINT", "CMD", "HEALTHCHECK":
			if _, ok := in.exec(); !ok {
				complain("%s is not in exec form", in.word)
			}
		case "RUN", "WORKDIR", "VOLUME", "USER", "STOPSIGNAL":
		default:
			complain("%s has no place here", in.word)
		}
		if in.stage == last {
			have[in.word] = in
		}
	}
	if !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(have["USER"].args) {
		complain("the user is %q; without an /etc/passwd it must be numbers, and not root's", have["USER"].args)
	}
	for _, word := range []string{"ENTRYPOINT", "HEALTHCHECK", "VOLUME"} {
		if have[word].word == "" {
			complain("no %s", word)
		}
	}
	if have["RUN"].word != "" {
		complain("RUN in an image without a shell")
	}
	return problems
}

// inContext reports whether the context has a file once what is ignored is gone.
func inContext(t *testing.T) func(name string) bool {
	patterns := ignorePatterns(t)
	return func(name string) bool {
		_, err := os.Stat(filepath.Join(context, name))
		return err == nil && (name == "." || !ignored(patterns, path.Clean(name)))
	}
}

func TestDockerfileIsSound(t *testing.T) {
	list, err := parseDockerfile(read(t, dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range checkDockerfile(list, inContext(t)) {
		t.Error(problem)
	}
	version := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindStringSubmatch(read(t, "../go.mod"))
	if version == nil || !strings.HasPrefix(list[0].args, "golang:"+version[1]+".") {
		t.Errorf("it builds with %s, go.mod has %s", list[0].args, version)
	}
}

func TestDockerfileChecksSeeWhatIsWrong(t *testing.T) {
	good, exists := read(t, dockerfile), inContext(t)
	f := func(old, bad, want string) {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("no %q", old)
		}
		list, err := parseDockerfile(strings.Replace(good, old, bad, 1))
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q for %q: %v", bad, old, err)
			}
			return
		}
		if all := strings.Join(checkDockerfile(list, exists), "\n"); !strings.Contains(all, want) {
			t.Errorf("%q for %q: %q, want %q", bad, old, all, want)
		}
	}
	f("golang:1.26.8-bookworm", "golang:latest", "golang:latest is not pinned")
	f("COPY go.mod go.sum", "COPY go.mod go.sums", "no go.sums to copy")
	f("COPY go.mod go.sum", "COPY go.mod docs", "no docs to copy")
	f("--from=build /out/tmp", "--from=builder /out/tmp", "COPY --from=builder")
	f("USER 65532:65532\n", "", "the user is")
	f("USER 65532:65532", "USER nobody", "the user is")
	f("USER 65532:65532", "USER 0:0", "the user is")
	f(`ENTRYPOINT ["/usr/bin/godwit"]`, "ENTRYPOINT /usr/bin/godwit", "ENTRYPOINT is not in exec form")
	f(`CMD ["/usr/bin/godwit", "health"]`, "CMD curl localhost", "HEALTHCHECK is not in exec form")
	f("EXPOSE 8080 8443", "EXPOSE 8080 8081", "ops address")
	f("WORKDIR /var", "RUN chmod 700 /var\nWORKDIR /var", "without a shell")
	f("COPY . .", "ADD . .", "ADD has no place")
	f("GODWIT_DATA=", "GODWIT_ADMIN_SECRET=", "a secret would stand")
	f("STOPSIGNAL", "stopsignal", "what is")
}

// copyContext copies what docker build would be sent.
func copyContext(t *testing.T, to string) {
	t.Helper()
	patterns := ignorePatterns(t)
	err := filepath.WalkDir(context, func(file string, entry fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(context, file)
		switch {
		case err != nil || relErr != nil:
			return err
		case name != "." && ignored(patterns, filepath.ToSlash(name)):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
