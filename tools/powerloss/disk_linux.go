package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fsIocShutdown is FS_IOC_SHUTDOWN of ext4 and XFS_IOC_GOINGDOWN of xfs.
const fsIocShutdown = 0x8004587d

const (
	mkfsTime    = 60 * time.Second
	unmountTime = 20 * time.Second
)

// disk is a file system on a loop device. Whatever ends this process, the kernel
// takes it down: the mount is in this process's namespace, the device clears
// itself with its last user, and the file behind it has no name.
type disk struct {
	filesystem string
	device     *os.File
	dir        string // where it is mounted
	mounted    bool
}

// mkfsCommand makes a file system on a device.
func mkfsCommand(filesystem string) (command []string, debianPackage string) {
	if filesystem == "xfs" {
		return []string{"mkfs.xfs", "-q", "-f"}, "xfsprogs"
	}
	return []string{"mkfs.ext4", "-q", "-F"}, "e2fsprogs"
}

// newDisk makes a file system on a new file in parent, and does not mount it.
func newDisk(ctx context.Context, parent, filesystem string, size int64) (*disk, error) {
	backing, err := os.CreateTemp(parent, "disk-")
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	if err := errors.Join(os.Remove(backing.Name()), backing.Truncate(size)); err != nil {
		return nil, err
	}
	d := &disk{filesystem: filesystem}
	if d.dir, err = os.MkdirTemp(parent, "mount-"); err != nil {
		return nil, err
	}
	if d.device, err = attachLoop(backing); err != nil {
		return nil, errors.Join(fmt.Errorf("attach a loop device: %w", err), os.Remove(d.dir))
	}
	command, _ := mkfsCommand(filesystem)
	ctx, cancel := context.WithTimeout(ctx, mkfsTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], d.device.Name())...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s", command[0], err, out), d.close())
	}
	return d, nil
}

// attachLoop makes a block device of a file.
func attachLoop(backing *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for try := 0; ; try++ {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &unix.LoopConfig{
			Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return device, nil
		}
		_ = device.Close()
		if !errors.Is(err, unix.EBUSY) || try == 20 { // somebody else took it
			return nil, err
		}
	}
}

// limitRequests bounds what the kernel writes to the device at once.
func (d *disk) limitRequests(kib int) (restore func() error, err error) {
	path := filepath.Join("/sys/block", filepath.Base(d.device.Name()), "queue/max_sectors_kb")
	before, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	restore = func() error { return os.WriteFile(path, before, 0o644) }
	return restore, os.WriteFile(path, []byte(strconv.Itoa(kib)), 0o644)
}

func (d *disk) mount() error {
	if err := unix.Mount(d.device.Name(), d.dir, d.filesystem, unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount %s: %w", d.filesystem, err)
	}
	d.mounted = true
	return nil
}

// powerOff drops what is not synced.
func (d *disk) powerOff(flags uint32) error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), fsIocShutdown, int(flags)); err != nil {
		return fmt.Errorf("FS_IOC_SHUTDOWN: %w", err)
	}
	return nil
}

// stir has the kernel write back parts of some files.
func (d *disk) stir(rng *rand.Rand) error {
	var files []string
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files = append(files, path)
		}
		return nil // files come and go
	})
	for range min(len(files), 8) {
		f, openErr := os.Open(files[rng.IntN(len(files))])
		if openErr != nil {
			continue
		}
		if info, statErr := f.Stat(); statErr == nil && info.Size() > 0 {
			from := rng.Int64N(info.Size()) &^ 4095
			_ = unix.SyncFileRange(int(f.Fd()), from, 4096<<rng.IntN(9),
				unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		}
		_ = f.Close()
	}
	return err
}

// unmount waits for the last user to end.
func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	for deadline := time.Now().Add(unmountTime); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Unmount(d.dir, 0)
		if err == nil || errors.Is(err, unix.EINVAL) {
			d.mounted = false
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			d.mounted = false
			return errors.Join(fmt.Errorf("unmount: %w", err), unix.Unmount(d.dir, unix.MNT_DETACH))
		}
	}
}

func (d *disk) close() error {
	return errors.Join(d.unmount(), d.device.Close(), os.Remove(d.dir))
}

// checkPlace refuses a directory that is not on a disk.
func checkPlace(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("file system of %s: %w", dir, err)
	}
	switch st.Type {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC:
		return fmt.Errorf("%s is not on a disk (tmpfs or overlay); name a directory that is with -dir", dir)
	}
	return nil
}

// checkTools says which Debian package is missing.
func checkTools(filesystems []string) error {
	for _, name := range filesystems {
		command, debianPackage := mkfsCommand(name)
		if _, err := exec.LookPath(command[0]); err != nil {
			return fmt.Errorf("%s is missing; install the Debian package %s", command[0], debianPackage)
		}
	}
	return nil
}

// kernelVersion is "major.minor".
func kernelVersion() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	parts := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
