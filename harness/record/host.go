package record

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/godwit-im/godwit/harness/result"
)

// sysctls that bound how many connections a host takes and how fast.
var sysctls = []string{
	"fs.file-max",
	"fs.nr_open",
	"net.core.somaxconn",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.tcp_max_syn_backlog",
	"net.ipv4.tcp_mem",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_wmem",
	"net.netfilter.nf_conntrack_max",
}

// HostFacts describes this machine; dir is a folder on the file system where
// the server's store lies. FsyncP50US is left for FsyncProbe. The facts that
// the system doesn't tell stay empty, and the error names them.
func HostFacts(dir string) (result.Host, error) {
	host, err := hostFacts(procRoot)
	var fsErr, limitErr error
	host.FileSystem, fsErr = fileSystem(dir)
	host.OpenFiles, limitErr = openFilesLimit()
	return host, errors.Join(err, fsErr, limitErr)
}

// hostFacts reads what stands under /proc.
func hostFacts(root string) (result.Host, error) {
	host := result.Host{
		Cores: runtime.NumCPU(), Go: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Sysctl: map[string]string{},
	}
	var errs [3]error
	host.CPU, errs[0] = colonValue(filepath.Join(root, "cpuinfo"), "model name", "Model", "cpu model", "uarch")
	memory, err := colonValue(filepath.Join(root, "meminfo"), "MemTotal")
	errs[1] = err
	if err == nil {
		kib, err := strconv.ParseUint(strings.TrimSuffix(memory, " kB"), 10, 64)
		if err != nil {
			errs[1] = fmt.Errorf("host's memory: %w", err)
		}
		host.MemoryMiB = int(kib / 1024)
	}
	kernel, err := os.ReadFile(filepath.Join(root, "sys/kernel/osrelease"))
	if err != nil {
		errs[2] = fmt.Errorf("host's kernel: %w", err)
	}
	host.Kernel = strings.TrimSpace(runtime.GOOS + " " + strings.TrimSpace(string(kernel)))
	for _, name := range sysctls {
		// Absent ones are no fault: connection tracking is a module.
		if value, err := os.ReadFile(filepath.Join(root, "sys", strings.ReplaceAll(name, ".", "/"))); err == nil {
			host.Sysctl[name] = strings.Join(strings.Fields(string(value)), " ")
		}
	}
	return host, errors.Join(errs[:]...)
}

// colonValue returns the value of the first line `name : value` in a file of
// /proc, for the first of the names that has one.
func colonValue(path string, names ...string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("host's %s: %w", names[0], err)
	}
	defer f.Close()
	values := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if name = strings.TrimSpace(name); ok && values[name] == "" {
			values[name] = strings.TrimSpace(value)
		}
	}
	for _, name := range names {
		if values[name] != "" {
			return values[name], nil
		}
	}
	return "", errors.Join(fmt.Errorf("host's %s: %s doesn't tell it", names[0], path), lines.Err())
}

// fileSystemNames by the magic number of statfs(2).
var fileSystemNames = map[int64]string{
	0x01021994: "tmpfs",
	0x0000ef53: "ext4", // ext2 and ext3 share it and are driven by ext4
	0x58465342: "xfs",
	0x9123683e: "btrfs",
	0x794c7630: "overlayfs",
	0x2fc12fc1: "zfs",
	0xf2f52010: "f2fs",
	0xca451a4e: "bcachefs",
	0x00006969: "nfs",
	0xff534d42: "cifs",
	0xfe534d42: "smb2",
	0x01021997: "9p",
	0x65735546: "fuse",
	0x6a656a63: "virtiofs",
	0x00c36400: "ceph",
	0x858458f6: "ramfs",
}

// fileSystemName says the number itself where it knows no name.
func fileSystemName(magic int64) string {
	if name, ok := fileSystemNames[magic&0xffffffff]; ok {
		return name
	}
	return fmt.Sprintf("0x%x", magic&0xffffffff)
}
