package config

import (
	"time"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/cache/l2"
	"github.com/vega-proxy/vega-proxy/internal/monitor"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/trace"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	// defaultUpstream names the first upstream when nobody else does.
	defaultUpstream = "default"
)

// Default is the configuration of an empty file: one upstream, Ollama's usual
// address, and every listener on loopback.
func Default() Config {
	c := Config{
		Config:    defaultProxy(),
		DataDir:   "./data",
		Balance:   "first",
		Breaker:   defaultBreaker(),
		Stream:    defaultStream(),
		Batchlog:  defaultBatchlog(),
		Retry:     resilience.RetryConfig{MaxAttempts: 2, BaseBackoff: 50 * time.Millisecond, MaxBackoff: 2 * time.Second, BudgetPercent: 20},
		Cache:     defaultCache(),
		Monitor:   defaultMonitor(),
		Admin:     admin.Config{Listen: "127.0.0.1:8081", OpenMetrics: true, Pprof: true, AllowedHosts: []string{}},
		Log:       LogConfig{Level: "info", Format: "json"},
		Telemetry: trace.Config{SampleRatio: 1},
		Shutdown:  ShutdownConfig{DrainTimeout: 30 * time.Second},
	}
	first := defaultItem()
	first.Name = defaultUpstream
	c.Upstreams = []Upstream{first}
	return c
}

func defaultProxy() proxy.Config {
	return proxy.Config{
		Listen:       "127.0.0.1:8080",
		AllowedHosts: []string{},
		ClientKeys:   []string{},
		Routes:       proxy.RoutesConfig{Allow: []string{}, Deny: []string{}},
		Limits: proxy.LimitsConfig{
			MaxBodyBytes:      32 * mib,
			MaxHeaderBytes:    64 * kib,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       120 * time.Second,
		},
	}
}

// defaultItem is what an item of the upstreams list is where it says nothing.
func defaultItem() Upstream {
	return Upstream{
		Config: upstream.Config{
			URL:              "http://127.0.0.1:11434",
			Models:           []string{},
			Headers:          map[string]string{},
			ConnectTimeout:   5 * time.Second,
			FirstByteTimeout: 600 * time.Second,
			IdleTimeout:      120 * time.Second,
			OnClientGone:     "cancel",
			Queue:            100,
			QueueTimeout:     30 * time.Second,
			Breaker:          defaultBreaker(),
		},
		Stream:        defaultStream(),
		SecretHeaders: []string{},
	}
}

func defaultBreaker() resilience.BreakerConfig {
	return resilience.BreakerConfig{
		Enabled:           true,
		FailThreshold:     5,
		BaseTimeout:       30 * time.Second,
		MaxTimeout:        300 * time.Second,
		HalfOpenTestCount: 3,
		ProbeTimeout:      30 * time.Second,
		FailureStatuses:   []int{500, 502, 503, 504},
		NeutralStatuses:   []int{},
	}
}

func defaultStream() stream.Config {
	return stream.Config{
		BufferSize:        100,
		BufferBytes:       1 * mib,
		WarningThreshold:  0.7,
		ThrottleThreshold: 0.9,
		WriteStallTimeout: 60 * time.Second,
		MaxEventBytes:     1 * mib,
		TotalBufferBytes:  256 * mib,
		Adaptive:          stream.AdaptiveConfig{Initial: 50, Min: 10, Max: 500},
	}
}

func defaultCache() cache.Config {
	return cache.Config{
		Policy:        "all",
		MaxSize:       1000,
		MaxBytes:      64 * mib,
		MaxEntryBytes: 1 * mib,
		TTLSeconds:    300,
		Coalesce:      true,
		L2:            l2.Config{Timeout: 20 * time.Millisecond},
	}
}

func defaultBatchlog() batchlog.Config {
	return batchlog.Config{
		Enabled:        true,
		BatchSize:      50,
		FlushInterval:  5 * time.Second,
		MaxQueueSize:   1000,
		Content:        "full",
		Redact:         []string{},
		MaxRecordBytes: 16 * mib,
		MaxHeldBytes:   256 * mib,
		Migrate:        true,
		Spool:          batchlog.SpoolConfig{MaxBytes: 1 * gib, Fsync: "1s"},
		SessionHeaders: []string{
			"X-Session-Id", "Session-Id", "Helicone-Session-Id",
			"X-OpenWebUI-Chat-Id", "X-Claude-Code-Session-Id", "x-litellm-session-id",
		},
	}
}

func defaultMonitor() monitor.Config {
	return monitor.Config{
		CheckInterval:     1 * time.Second,
		SlowThresholdMS:   100,
		Thresholds:        map[string]int{},
		HighPendingTasks:  100,
		LeakCheckInterval: 60 * time.Second,
		LeakThreshold:     300 * time.Second,
		FlightRecorder:    monitor.FlightRecorderConfig{Enabled: true, Window: 10 * time.Second, MaxFiles: 5},
	}
}
