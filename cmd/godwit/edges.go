package main

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-im/godwit/node"
)

// edgeCommand returns what makes the command of an edge process: this program, with
// the configuration that this process has. What differs between them is set by
// flags and the environment, which win over the file.
func (a *app) edgeCommand(file string) func(node.EdgeProcess) *exec.Cmd {
	return func(p node.EdgeProcess) *exec.Cmd {
		program, err := os.Executable()
		if err != nil {
			program = os.Args[0]
		}
		args := []string{"serve", "--role", node.RoleEdge, "--upstream", p.Upstream, "--listen", p.Listen, "--ops", "127.0.0.1:0", "--data", p.Data}
		if p.Dev {
			args = append(args, "--dev")
		}
		if p.Router != node.StoreLocal {
			args = append(args, "--router", p.Router, "--pd", strings.Join(p.PD, ","))
		}
		if file != "" {
			args = append(args, "--config", file)
		}
		own := []string{
			"GODWIT_NODE=" + p.Node,
			"GODWIT_EDGES=0",
			"GODWIT_EDGE_REUSE_PORT=true",
			"GODWIT_EDGE_LOOPS=" + strconv.Itoa(p.Loops),
			"GODWIT_EDGE_MEMORY=" + p.Memory.String(),
		}
		if p.TLSListen != "" {
			own = append(own, "GODWIT_TLS_LISTEN="+p.TLSListen)
		}
		cmd := exec.Command(program, args...)
		cmd.Env = append(slices.DeleteFunc(slices.Clone(a.environ), func(entry string) bool {
			name, _, _ := strings.Cut(entry, "=")
			return slices.ContainsFunc(own, func(set string) bool { return strings.HasPrefix(set, name+"=") })
		}), own...)
		cmd.Stderr = a.stderr
		return cmd
	}
}
