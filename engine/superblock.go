package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The superblock says what the directory is. It is written when the directory
// is made and once more when the first log records are synced.
//
//	magic    8 B     "GODWITSB"
//	version  u32 LE  2 if restored is there, else 1
//	groups   u32 LE  raft groups
//	node     u64 LE  raft id of this node
//	created  i64 LE  ms since the Unix epoch
//	flags    u32 LE  bit 0: the WAL holds records; finding none is a loss
//	voters   u32 LE  count, then u64 LE each: the raft configuration at the start
//	restored u64 LE  random, not 0: the incarnation that a restore began
//	crc      u32 LE  CRC32C of everything before
const (
	superblockMagic    = "GODWITSB"
	superblockVersion  = 2
	superblockName     = "SUPERBLOCK"
	superblockTemp     = "SUPERBLOCK.tmp"
	superblockBytesMax = 4096
	superblockMinBytes = 8 + 4 + 4 + 8 + 8 + 4 + 4 + 4

	flagHasLog = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type superblock struct {
	groups  int
	node    uint64
	created int64
	hasLog  bool
	voters  []uint64
	// restored is the incarnation that a restore from a backup began, 0: none did.
	restored uint64
}

func (s superblock) appendTo(dst []byte) []byte {
	start := len(dst)
	var flags uint32
	version := uint32(1)
	if s.restored != 0 {
		version = 2
	}
	if s.hasLog {
		flags |= flagHasLog
	}
	le := binary.LittleEndian
	dst = append(dst, superblockMagic...)
	dst = le.AppendUint32(dst, version)
	dst = le.AppendUint32(dst, uint32(s.groups))
	dst = le.AppendUint64(dst, s.node)
	dst = le.AppendUint64(dst, uint64(s.created))
	dst = le.AppendUint32(dst, flags)
	dst = le.AppendUint32(dst, uint32(len(s.voters)))
	for _, v := range s.voters {
		dst = le.AppendUint64(dst, v)
	}
	if version > 1 {
		dst = le.AppendUint64(dst, s.restored)
	}
	return le.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func parseSuperblock(src []byte) (superblock, error) {
	le := binary.LittleEndian
	if len(src) < superblockMinBytes || string(src[:8]) != superblockMagic {
		return superblock{}, fmt.Errorf("%w: not a godwit superblock", ErrFormat)
	}
	// The version comes before the checksum: another version may end elsewhere.
	version := le.Uint32(src[8:])
	if version < 1 || version > superblockVersion {
		return superblock{}, fmt.Errorf("%w: version %d, this program reads up to %d", ErrFormat, version, superblockVersion)
	}
	body := src[:len(src)-4]
	if crc32.Checksum(body, castagnoli) != le.Uint32(src[len(body):]) {
		return superblock{}, fmt.Errorf("%w: checksum mismatch", ErrFormat)
	}
	s := superblock{
		groups:  int(le.Uint32(src[12:])),
		node:    le.Uint64(src[16:]),
		created: int64(le.Uint64(src[24:])),
		hasLog:  le.Uint32(src[32:])&flagHasLog != 0,
	}
	voters := body[superblockMinBytes-4:]
	if version > 1 && len(voters) >= 8 {
		voters, s.restored = voters[:len(voters)-8], le.Uint64(voters[len(voters)-8:])
	}
	if version > 1 && s.restored == 0 {
		return superblock{}, fmt.Errorf("%w: version 2 without an incarnation", ErrFormat)
	}
	if uint64(len(voters)) != 8*uint64(le.Uint32(src[36:])) {
		return superblock{}, fmt.Errorf("%w: voters cut short", ErrFormat)
	}
	for ; len(voters) > 0; voters = voters[8:] {
		s.voters = append(s.voters, le.Uint64(voters))
	}
	return s, nil
}

// openSuperblock reads the superblock of cfg.Dir, or makes it when the
// directory holds no store yet, and refuses one that contradicts cfg.
func openSuperblock(cfg *Config, walDir string) (superblock, error) {
	raw, err := readSmall(cfg.FS, cfg.FS.PathJoin(cfg.Dir, superblockName))
	if errors.Is(err, os.ErrNotExist) {
		for _, dir := range []string{walDir, cfg.FS.PathJoin(cfg.Dir, "rows"), cfg.FS.PathJoin(cfg.Dir, "segments")} {
			if names, err := cfg.FS.List(dir); err == nil && len(names) > 0 {
				return superblock{}, fmt.Errorf("%w: %s is missing but %s is not empty", ErrFormat, superblockName, dir)
			}
		}
		if _, err := cfg.FS.Stat(cfg.Dir + restoringSuffix); err == nil {
			return superblock{}, fmt.Errorf("%w: a restore to %s was broken off; run it again, or remove %s to begin an empty store",
				ErrFormat, cfg.Dir, cfg.Dir+restoringSuffix)
		}
		sb := superblock{groups: cfg.Groups, node: cfg.Node, created: cfg.Clock(), voters: []uint64{cfg.Node}}
		return sb, writeSuperblock(cfg, sb)
	}
	if err != nil {
		return superblock{}, fmt.Errorf("read superblock: %w", err)
	}
	sb, err := parseSuperblock(raw)
	if err != nil {
		return superblock{}, fmt.Errorf("read superblock: %w", err)
	}
	if sb.groups != cfg.Groups {
		return superblock{}, fmt.Errorf("%w: %s was made with %d groups, the configuration says %d", ErrConfigChanged, cfg.Dir, sb.groups, cfg.Groups)
	}
	if sb.node != cfg.Node {
		return superblock{}, fmt.Errorf("%w: %s belongs to node %d, the configuration says %d", ErrConfigChanged, cfg.Dir, sb.node, cfg.Node)
	}
	return sb, nil
}

// writeSuperblock replaces the superblock atomically and durably.
func writeSuperblock(cfg *Config, sb superblock) error {
	fs, temp := cfg.FS, cfg.FS.PathJoin(cfg.Dir, superblockTemp)
	f, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create superblock: %w", err)
	}
	_, err = f.Write(sb.appendTo(nil))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fs.Rename(temp, fs.PathJoin(cfg.Dir, superblockName))
	}
	if err == nil {
		err = syncDir(fs, cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("write superblock: %w", err)
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readSmall(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, superblockBytesMax))
	return raw, errors.Join(err, f.Close())
}
