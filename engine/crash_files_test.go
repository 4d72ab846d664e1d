package engine

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// eachFile calls fn with the content of every file below dir.
func eachFile(fs vfs.FS, dir string, fn func(name string, data []byte) error) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = eachFile(fs, path, fn)
		} else {
			var data []byte
			if data, err = readFile(fs, path); err == nil {
				err = fn(path, data)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}
