package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// bom lists the modules that the binary says it was built of, as CycloneDX.
func (r release) bom(t target, binary string) (err error) {
	built, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	sum, err := sha256of(binary)
	if err != nil {
		return err
	}
	program := cdx.Component{
		BOMRef: "vega-proxy", Type: cdx.ComponentTypeApplication, Name: "vega-proxy", Version: r.version,
		PackageURL: purl(built.Main.Path, r.version), Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}},
		Properties: &[]cdx.Property{{Name: "go:os", Value: t.os}, {Name: "go:arch", Value: t.arch}},
	}
	goVersion := strings.TrimPrefix(built.GoVersion, "go")
	components := []cdx.Component{{BOMRef: "std", Type: cdx.ComponentTypeLibrary, Name: "std", Version: goVersion, PackageURL: purl("std", goVersion)}}
	for _, m := range built.Deps {
		c, err := component(m)
		if err != nil {
			return err
		}
		components = append(components, c)
	}
	refs := make([]string, len(components))
	for i, c := range components {
		refs[i] = c.BOMRef
	}
	list := cdx.NewBOM()
	list.Metadata = &cdx.Metadata{Timestamp: r.time.Format(time.RFC3339), Component: &program}
	list.Components = &components
	list.Dependencies = &[]cdx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	f, err := os.Create(r.name(t, ".cdx.json"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).Encode(list)
}

func component(m *debug.Module) (cdx.Component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	c := cdx.Component{
		BOMRef: m.Path + "@" + m.Version, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version,
		PackageURL: purl(m.Path, m.Version),
	}
	// As in go.sum: SHA-256 of the module's list of files, in base64.
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return c, fmt.Errorf("%s has the sum %q", m.Path, m.Sum)
	}
	c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	return c, nil
}

func purl(module, version string) string { return "pkg:golang/" + module + "@" + version }
