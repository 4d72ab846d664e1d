package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/segment"
)

// Backup is what a backup's MANIFEST.json says: docs/formats/backup.md.
type Backup struct {
	Version int           `json:"version"`
	Created time.Time     `json:"created"` // UTC, whole ms
	Program string        `json:"program"` // version of the program that made it
	Node    uint64        `json:"node"`    // raft id
	Groups  []BackupGroup `json:"groups"`
	Files   []BackupFile  `json:"files"`
}

// BackupGroup is how far a raft group had come.
type BackupGroup struct {
	Group    int    `json:"group"`
	Applied  uint64 `json:"applied"` // raft index: all up to it is in the backup, nothing after it
	Term     uint64 `json:"term"`
	Stamp    int64  `json:"stamp"` // log time of that index, ms since the Unix epoch
	Segments int    `json:"segments"`
}

// BackupFile is one file of a backup.
type BackupFile struct {
	Name   string `json:"name"` // with slashes, below the backup's directory
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
	// Content is the SHA-256 of what the store's own manifest says of a segment:
	// by it a later backup knows, without reading, that the file is the same.
	Content string `json:"content,omitempty"`
}

// Bytes is the size of all files.
func (b *Backup) Bytes() (sum int64) {
	for i := range b.Files {
		sum += b.Files[i].Size
	}
	return sum
}

const (
	backupVersion          = 1
	backupManifestName     = "MANIFEST.json"
	backupManifestBytesMax = 256 << 20
	backupSegments         = "segments"
	backupRows             = "rows"
)

// ErrBackup: a backup is incomplete, damaged, or none.
var ErrBackup = errors.New("engine: bad backup")

// appendTo writes the manifest inside an envelope with the SHA-256 of its bytes.
func (b *Backup) appendTo(dst []byte) []byte {
	body, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		panic("BUG: a manifest that JSON can't write: " + err.Error())
	}
	dst = fmt.Appendf(dst, "{\"sha256\":\"%x\",\n\"manifest\":", sha256.Sum256(body))
	return append(append(dst, body...), "}\n"...)
}

func parseBackup(src []byte) (Backup, error) {
	var envelope struct {
		SHA256   string          `json:"sha256"`
		Manifest json.RawMessage `json:"manifest"`
	}
	var b Backup
	if err := strictJSON(src, &envelope); err != nil {
		return b, fmt.Errorf("%w: %s: %w", ErrBackup, backupManifestName, err)
	}
	if sum := sha256.Sum256(envelope.Manifest); envelope.SHA256 != hex.EncodeToString(sum[:]) {
		return b, fmt.Errorf("%w: %s: checksum mismatch", ErrBackup, backupManifestName)
	}
	// The version comes first: another one may have other fields.
	var version struct{ Version int }
	if err := json.Unmarshal(envelope.Manifest, &version); err != nil || version.Version != backupVersion {
		return b, fmt.Errorf("%w: %s has version %d, this program reads %d", ErrBackup, backupManifestName, version.Version, backupVersion)
	}
	if err := strictJSON(envelope.Manifest, &b); err != nil {
		return b, fmt.Errorf("%w: %s: %w", ErrBackup, backupManifestName, err)
	}
	return b, b.check()
}

func strictJSON(src []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind its end")
	}
	return nil
}

// check refuses names that lead elsewhere: a backup may come from anywhere.
func (b *Backup) check() error {
	seen := map[string]bool{}
	for _, f := range b.Files {
		if seen[f.Name] || !backupName(f.Name) || f.Size < 0 || len(f.SHA256) != 2*sha256.Size {
			return fmt.Errorf("%w: %s lists %q, which can't be", ErrBackup, backupManifestName, f.Name)
		}
		seen[f.Name] = true
	}
	for i, g := range b.Groups {
		if g.Group != i || g.Applied == 0 || g.Term == 0 {
			return fmt.Errorf("%w: %s: group %d can't be", ErrBackup, backupManifestName, i)
		}
	}
	if !seen[superblockName] || len(b.Groups) == 0 || len(b.Groups) > groupsMax {
		return fmt.Errorf("%w: %s lists no store", ErrBackup, backupManifestName)
	}
	return nil
}

func backupName(name string) bool {
	if name == superblockName {
		return true
	}
	dir, base := path.Split(name)
	switch dir {
	case backupSegments + "/":
		_, temp, ok := segment.ParseFileName(base)
		return ok && !temp
	case backupRows + "/":
		return base != "" && base != "." && base != ".." && !strings.ContainsAny(base, "\\\x00")
	}
	return false
}

// immutable files keep their content as long as they have their name, so links
// may share them.
func (f *BackupFile) immutable() bool {
	return strings.HasPrefix(f.Name, backupSegments+"/") || strings.HasSuffix(f.Name, ".sst")
}

// readBackup reads the manifest of a backup's directory.
func readBackup(fs vfs.FS, dir string) (Backup, error) {
	raw, err := readAll(fs, fs.PathJoin(dir, backupManifestName), backupManifestBytesMax)
	if errors.Is(err, os.ErrNotExist) {
		return Backup{}, fmt.Errorf("%w: %s has no %s: it is no backup, or one that was not finished", ErrBackup, dir, backupManifestName)
	}
	if err != nil {
		return Backup{}, fmt.Errorf("read %s: %w", dir, err)
	}
	b, err := parseBackup(raw)
	if err != nil {
		return b, fmt.Errorf("read %s: %w", dir, err)
	}
	return b, nil
}

func readAll(fs vfs.FS, name string, bytesMax int64) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, min(bytesMax, math.MaxInt64-1)+1))
	if err == nil && int64(len(raw)) > bytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", name, bytesMax)
	}
	return raw, errors.Join(err, f.Close())
}

// localPath turns a name of the manifest into a path of fs.
func localPath(fs vfs.FS, dir, name string) string {
	return fs.PathJoin(append([]string{dir}, strings.Split(name, "/")...)...)
}
