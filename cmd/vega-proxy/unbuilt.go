package main

import "github.com/vega-proxy/vega-proxy/internal/config"

// unbuilt is what the configuration knows and this build does not do yet. To set
// any of it is refused: no setting is silently ignored.
var unbuilt = []config.Unbuilt{
	{Section: "cache", Part: "response cache"},
	{Section: "batchlog", Part: "conversation log"},
	{Section: "monitor", Part: "self-monitoring"},
	{Section: "telemetry", Part: "tracing"},
	{Section: "stream.buffer_size", Part: "stream buffer"},
	{Section: "stream.buffer_bytes", Part: "stream buffer"},
	{Section: "stream.warning_threshold", Part: "stream buffer"},
	{Section: "stream.throttle_threshold", Part: "stream buffer"},
	{Section: "stream.drop_on_overflow", Part: "stream buffer"},
	{Section: "stream.chunk_delay_ms", Part: "stream buffer"},
	{Section: "stream.heartbeat_interval", Part: "stream buffer"},
	{Section: "stream.total_buffer_bytes", Part: "stream buffer"},
	{Section: "stream.adaptive", Part: "stream buffer"},
}
