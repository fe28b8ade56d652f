package config

import (
	"fmt"
	"reflect"
	"strings"
)

// suggestSetting advises on a key that does not exist in a section: a sibling
// that is spelled alike, or the place where a setting of that name belongs.
func suggestSetting(section, key string, siblings []string) string {
	if near := nearest(key, siblings); near != "" {
		return fmt.Sprintf("did you mean %s?", join(section, near))
	}
	var elsewhere []string
	for _, l := range leaves("", reflect.ValueOf(Default())) {
		if lastName(l.path) == key {
			elsewhere = append(elsewhere, l.path)
		}
	}
	if len(elsewhere) == 1 {
		return fmt.Sprintf("did you mean %s?", elsewhere[0])
	}
	return "remove it"
}

// nearest is the candidate that takes the fewest edits to reach, or "" when
// none is near enough to be meant. Capitals do not count.
func nearest(name string, candidates []string) string {
	name = strings.ToLower(name)
	best, bestDistance := "", 1+min(3, len(name)/3+1)
	for _, c := range candidates {
		if d := editDistance(name, strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		now[0] = i + 1
		for j := range len(b) {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			now[j+1] = min(last[j+1]+1, now[j]+1, replace)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
