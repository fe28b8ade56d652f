package admin

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	maxScrapes    = 3
	scrapeTimeout = 10 * time.Second
)

// probeRoutes is what other machinery asks: all that metrics.listen serves.
func (s *Server) probeRoutes() []route {
	return []route{
		{http.MethodGet, "/livez", s.read(live)},
		{http.MethodGet, "/readyz", s.read(s.ready)},
		{http.MethodGet, "/metrics", promhttp.HandlerFor(s.parts.Metrics, promhttp.HandlerOpts{
			EnableOpenMetrics: true,
			// One collector that fails must not hide all the others.
			ErrorHandling:       promhttp.ContinueOnError,
			ErrorLog:            slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
			MaxRequestsInFlight: maxScrapes,
			Timeout:             scrapeTimeout,
		})},
	}
}

type probe struct {
	Status string `json:"status"`
}

func live(*http.Request) (any, *refusal) { return probe{"ok"}, nil }

func (s *Server) ready(*http.Request) (any, *refusal) {
	if err := s.parts.Ready(); err != nil {
		return nil, &refusal{status: http.StatusServiceUnavailable, code: "not_ready", message: err.Error()}
	}
	return probe{"ready"}, nil
}
