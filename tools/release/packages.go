package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // the two formats
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// packages makes a deb and an rpm of the binary, the systemd unit and its
// configuration.
func (r release) packages(t target, binary string) error {
	for _, format := range []string{"deb", "rpm"} {
		if err := r.pkg(t, binary, format); err != nil {
			return err
		}
	}
	return nil
}

func (r release) pkg(t target, binary, format string) (err error) {
	systemd := filepath.Join(r.root, "deploy/systemd")
	contents := files.Contents{
		{Source: binary, Destination: "/usr/bin/vega-proxy", FileInfo: r.info(0o755)},
		{Source: filepath.Join(systemd, "vega-proxy.service"), Destination: "/usr/lib/systemd/system/vega-proxy.service", FileInfo: r.info(0o644)},
		{Source: filepath.Join(systemd, "vega-proxy.yaml"), Destination: "/etc/vega-proxy/vega-proxy.yaml", Type: files.TypeConfigNoReplace, FileInfo: r.info(0o644)},
		{Source: filepath.Join(systemd, "environment"), Destination: "/etc/vega-proxy/environment", Type: files.TypeConfigNoReplace, FileInfo: r.info(0o600)},
	}
	for _, s := range shipped {
		contents = append(contents, &files.Content{
			Source: filepath.Join(r.root, s), Destination: "/usr/share/doc/vega-proxy/" + filepath.Base(s), FileInfo: r.info(0o644),
		})
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name:          "vega-proxy",
		Arch:          t.arch,
		Platform:      t.os,
		Version:       packageVersion(r.version),
		VersionSchema: "none",
		Section:       "net",
		Priority:      "optional",
		Maintainer:    "The vega-proxy authors <vega-proxy@users.noreply.github.com>",
		Homepage:      "https://github.com/vega-proxy/vega-proxy",
		Description:   "A reverse proxy between an application and its LLM backend.\n Circuit breakers, a cache, bounded streams and a log of conversations.",
		MTime:         r.time,
		Overridables: nfpm.Overridables{
			Contents: contents,
			Scripts: nfpm.Scripts{
				PostInstall: filepath.Join(systemd, "package/postinstall.sh"),
				PreRemove:   filepath.Join(systemd, "package/preremove.sh"),
				PostRemove:  filepath.Join(systemd, "package/postremove.sh"),
			},
			RPM: nfpm.RPM{BuildHost: "vega-proxy"},
		},
	})
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	f, err := os.Create(r.name(t, "."+format))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return packager.Package(info, f)
}

func (r release) info(mode os.FileMode) *files.ContentFileInfo {
	return &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: r.time}
}

// since is how git describe counts commits after a tag.
var since = regexp.MustCompile(`-([0-9]+)-(g[0-9a-f]+)`)

// packageVersion makes a version that dpkg and rpm take, and sort as meant, of a
// tag (v1.2.3, v1.2.3-rc.1), of commits after it (v1.2.3-4-gabcdef) or of a commit
// alone (abcdef): ~ comes before nothing, + after it.
func packageVersion(version string) string {
	version = strings.TrimPrefix(version, "v")
	if !strings.Contains(version, ".") {
		version = "0~" + version
	}
	version = since.ReplaceAllString(version, "+$1+$2")
	version = strings.ReplaceAll(version, "-dirty", "+dirty")
	return strings.ReplaceAll(version, "-", "~")
}
