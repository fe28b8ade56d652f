package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page of settings by consequence has every setting, and names none that is
// not one.
func TestSettingsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	settings := []string{"upstreams[].breaker", "upstreams[].stream"}
	d := Default()
	for _, l := range leaves("", reflect.ValueOf(d)) {
		if _, upstream := overridden(l.path); upstream == "" {
			settings = append(settings, strings.Replace(l.path, "[0]", "[]", 1))
		}
	}
	var named []string
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 {
			continue
		}
		section := ""
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			name, _, _ := strings.Cut(m[1], ": ")
			if strings.HasPrefix(name, ".") { // of the section named before
				name = section + name
			}
			if i := strings.LastIndexByte(name, '.'); i > 0 {
				section = name[:i]
			}
			if name != "deterministic" && name != "hashed" { // other values of the same setting
				named = append(named, name)
			}
		}
	}
	for _, name := range settings {
		if !slices.Contains(named, name) && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("%s is not on the page", name)
		}
	}
	for _, name := range named {
		if !slices.Contains(settings, name) {
			t.Errorf("the page names %s, which is no setting", name)
		}
	}
}
