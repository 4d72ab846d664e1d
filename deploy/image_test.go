package deploy

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// image is what the Dockerfile makes, as a directory to change the root to. There
// is no container engine in it: no layers, no limits, the network of the host.
type image struct {
	t          *testing.T
	root       string
	entrypoint []string
	command    []string
	health     []string
	env        []string
	dir        string
	uid, gid   int
}

// build does what docker build would: the context without what is ignored, the
// instructions of the first stage that make files, and the copies of the last.
func build(t *testing.T) *image {
	t.Helper()
	list, err := parseDockerfile(read(t, dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	stage, im := t.TempDir(), &image{t: t, root: t.TempDir()}
	last := list[len(list)-1].stage
	var env []string
	for _, in := range list {
		words := strings.Fields(in.args)
		switch {
		case in.stage < last && in.word == "ENV":
			env = append(env, words...)
		case in.stage < last && in.word == "COPY" && in.args == ". .":
			copyContext(t, filepath.Join(stage, "src"))
		case in.stage < last && in.word == "RUN" && in.args != "go mod download":
			cmd := exec.Command("/bin/sh", "-ec", strings.ReplaceAll(in.args, "/out/", stage+"/out/"))
			cmd.Dir, cmd.Env = filepath.Join(stage, "src"), append(os.Environ(), env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", in.args, err, out)
			}
		case in.stage < last:
		case in.word == "COPY":
			im.copy(stage, words[0], words[1], in.flags["chown"])
		case in.word == "ENV":
			im.env = append(im.env, words...)
		case in.word == "WORKDIR":
			im.dir = in.args
		case in.word == "USER":
			_, _ = fmt.Sscanf(in.args, "%d:%d", &im.uid, &im.gid)
		case in.word == "ENTRYPOINT":
			im.entrypoint, _ = in.exec()
		case in.word == "CMD":
			im.command, _ = in.exec()
		case in.word == "HEALTHCHECK":
			im.health, _ = in.exec()
		}
	}
	return im
}

// copy is COPY --from=build: what the stage made, else the file of this system.
func (im *image) copy(stage, from, to, owner string) {
	im.t.Helper()
	source, target := filepath.Join(stage, from), filepath.Join(im.root, to)
	info, err := os.Stat(source)
	if err != nil {
		source = from
		if info, err = os.Stat(from); err != nil {
			im.t.Skipf("this system has no %s: %v", from, err)
		}
	}
	if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil && info.IsDir() {
		err = os.Mkdir(target, 0o755)
	} else if err == nil {
		var b []byte
		if b, err = os.ReadFile(source); err == nil {
			err = os.WriteFile(target, b, info.Mode().Perm())
		}
	}
	if err == nil {
		err = os.Chmod(target, info.Mode())
	}
	if err == nil && owner != "" {
		user, group, _ := strings.Cut(owner, ":")
		uid, _ := strconv.Atoi(user)
		gid, _ := strconv.Atoi(group)
		err = os.Chown(target, uid, gid)
	}
	if err != nil {
		im.t.Fatal(err)
	}
}

// cmd is a program of the image, run as its user in its root and with no other
// right: no capability survives the change of the user.
func (im *image) cmd(argv ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: argv[0], Args: argv, Env: im.env, Dir: im.dir,
		SysProcAttr: &syscall.SysProcAttr{
			Chroot: im.root, Credential: &syscall.Credential{Uid: uint32(im.uid), Gid: uint32(im.gid)}, Pdeathsig: syscall.SIGKILL,
		},
	}
}

func (im *image) run(argv ...string) string {
	im.t.Helper()
	cmd := im.cmd(argv...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		im.t.Errorf("%q: %v: %s", argv, err, &errs)
	}
	return strings.TrimSpace(string(out))
}

// serve runs the image's server with tokens for development, on free ports.
func (im *image) serve() (cmd *exec.Cmd, public, ops string) {
	im.t.Helper()
	cmd = im.cmd(append(im.entrypoint, "serve", "--dev", "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0")...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		im.t.Fatal(err)
	}
	ended := false
	im.t.Cleanup(func() {
		if !ended && cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	for lines := bufio.NewScanner(stdout); public == "" || ops == ""; {
		if !lines.Scan() {
			_ = cmd.Wait()
			ended = true
			im.t.Fatalf("the server ended: %s", &errs)
		}
		if _, rest, ok := strings.Cut(lines.Text(), "listening on ws://"); ok {
			public, _, _ = strings.Cut(rest, "/")
		}
		if _, rest, ok := strings.Cut(lines.Text(), "ops on http://"); ok {
			ops = strings.TrimSpace(rest)
		}
	}
	return cmd, public, ops
}

func TestImageServes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changing the root takes root's rights")
	}
	im := build(t)
	binary, err := elf.Open(filepath.Join(im.root, im.entrypoint[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary is not static: the image has nothing to load it with")
		}
	}

	// Without its file the default command says what is missing.
	first := im.cmd(append(im.entrypoint, im.command...)...)
	if out, err := first.CombinedOutput(); err == nil || !strings.Contains(string(out), im.command[len(im.command)-1]) {
		t.Errorf("without a configuration: %v, %s", err, out)
	}

	cmd, public, ops := im.serve()
	if got := im.run(append(im.health, "--ops", ops)...); got != "ready" {
		t.Errorf("the health check says %q", got)
	}
	token := im.run(append(im.entrypoint, "token", "mint", "--data", im.dir, "alice")...)
	ask := func(method, path, body string) string {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+public+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		answer, _ := io.ReadAll(reply.Body)
		return string(answer)
	}
	if answer := ask("POST", "/v1/rpc?device=d", `{"id":1,"send":{"to":"alice","cid":"c1","text":"kept"}}`); !strings.Contains(answer, `"stored"`) {
		t.Errorf("the send answered %s", answer)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := waitFor(t, cmd); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}

	// It is on the volume, for the next container.
	_, public, _ = im.serve()
	if answer := ask("POST", "/v1/rpc?device=d", `{"id":1,"history":{"conv":"u:alice"}}`); !strings.Contains(answer, "kept") {
		t.Errorf("the history is %s", answer)
	}
	entries, err := os.ReadDir(filepath.Join(im.root, "tmp"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left in /tmp: %v, %v", entries, err)
	}
}

func waitFor(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the server does not end")
		return nil
	}
}
