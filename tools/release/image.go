package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user owns the data in an image, and is whom the program runs as.
const user = 65532

// image makes what the Dockerfile describes, for docker load, podman load or a
// registry's tools.
func (r release) image(t target, binary string) error {
	content, err := r.layer(binary)
	if err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		return err
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: r.time}, CreatedBy: "vega-proxy release"},
	})
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	img, err = mutate.ConfigFile(img, r.config(t, config.DeepCopy()))
	if err != nil {
		return err
	}
	tag, err := name.NewTag("vega-proxy:" + r.version)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(r.name(t, "_image.tar"), tag, img)
}

// config says how the image is run, as the Dockerfile does; a test compares them.
func (r release) config(t target, cfg *v1.ConfigFile) *v1.ConfigFile {
	cfg.OS, cfg.Architecture, cfg.Created = t.os, t.arch, v1.Time{Time: r.time}
	cfg.Config = v1.Config{
		User:         "65532:65532",
		WorkingDir:   "/data",
		Env:          []string{"VEGA_DATA_DIR=/data"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "8081/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}},
		Entrypoint:   []string{"/vega-proxy"},
		Cmd:          []string{"serve"},
		Healthcheck: &v1.HealthConfig{
			Test: []string{"CMD", "/vega-proxy", "healthcheck"}, Interval: 10 * time.Second, Timeout: 3 * time.Second, StartPeriod: 5 * time.Second,
		},
		Labels: map[string]string{
			"org.opencontainers.image.title":   "vega-proxy",
			"org.opencontainers.image.version": r.version,
			"org.opencontainers.image.source":  "https://github.com/vega-proxy/vega-proxy",
		},
	}
	return cfg
}

// layer is the only one: the roots, the binary and the empty folder for data.
func (r release) layer(binary string) ([]byte, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, folder := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/"} {
		if err := r.folder(tw, folder, 0o755, 0); err != nil {
			return nil, err
		}
	}
	roots := roots()
	header := &tar.Header{Name: "etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Size: int64(len(roots)), ModTime: r.time}
	if err := tw.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := tw.Write(roots); err != nil {
		return nil, err
	}
	err := errors.Join(r.pack(tw, binary, "vega-proxy", 0o755, 0), r.folder(tw, "data/", 0o700, user), tw.Close())
	return buf.Bytes(), err
}

func (r release) folder(tw *tar.Writer, as string, mode int64, owner int) error {
	return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: as, Mode: mode, ModTime: r.time, Uid: owner, Gid: owner})
}

// roots are Mozilla's certificate authorities as of the version in go.mod, so that
// they do not depend on the machine. Those trusted under conditions only are
// left out: a file of certificates cannot say conditions.
func roots() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			all.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return all.Bytes()
}
