package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// shipped are the files beside the binary, in an archive and in a package's
// documentation.
var shipped = []string{"README.md", "CHANGELOG.md", "config/vega-proxy.yaml"}

// archive packs the binary and what goes with it.
func (r release) archive(t target, binary string) (err error) {
	name := r.name(t, ".tar.gz")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	packed, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(packed)
	folder := strings.TrimSuffix(filepath.Base(name), ".tar.gz")
	files := []string{binary}
	for _, s := range shipped {
		files = append(files, filepath.Join(r.root, s))
	}
	for i, file := range files {
		mode := int64(0o644)
		if i == 0 {
			mode = 0o755
		}
		if err := r.pack(tw, file, path.Join(folder, filepath.Base(file)), mode, 0); err != nil {
			return err
		}
	}
	return errors.Join(tw.Close(), packed.Close())
}

// pack adds a file with the release's time and one owner.
func (r release) pack(tw *tar.Writer, file, as string, mode int64, owner int) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: as, Mode: mode, Size: info.Size(), ModTime: r.time, Uid: owner, Gid: owner, Format: tar.FormatPAX}
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}
