package admin

import (
	"net/http"
	"strings"
)

// Reloaded is what taking up the configuration anew has changed.
type Reloaded struct {
	// Applied tells that something changed and holds now.
	Applied bool `json:"applied"`
	// Message says it in a sentence.
	Message string `json:"message"`
	// File is what was read beside environment and flags; "" is none.
	File string `json:"file"`
	// Changed are the paths of the settings that hold now, RestartNeeded of those
	// that changed too and go on as they were until the process is started anew.
	Changed       []string `json:"changed"`
	RestartNeeded []string `json:"restart_needed"`
	// Differences are both, with their values.
	Differences []Difference `json:"differences"`
	// Warnings are about settings that deserve a second look.
	Warnings []string `json:"warnings"`
}

// Difference is one setting that changed. Its values are written as in the file,
// with secrets masked.
type Difference struct {
	Path string `json:"path"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

func (s *Server) reload(r *http.Request) (any, *refusal) {
	done, err := s.parts.Reload(r.Context())
	if err != nil {
		return nil, &refusal{status: http.StatusUnprocessableEntity, code: "config_invalid",
			message: "the new configuration is refused and the old one stays", problems: strings.Split(err.Error(), "\n")}
	}
	// Lists, also in JSON.
	done.Changed = append([]string{}, done.Changed...)
	done.RestartNeeded = append([]string{}, done.RestartNeeded...)
	done.Differences = append([]Difference{}, done.Differences...)
	done.Warnings = append([]string{}, done.Warnings...)
	return done, nil
}
