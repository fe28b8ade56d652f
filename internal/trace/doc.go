// Package trace makes OpenTelemetry traces of exchanges and sends them to a
// collector by OTLP over HTTP: a server span for each exchange, with the
// attributes of the conventions for generative AI, and under it a client span
// for each try at an upstream. It reads the trace that a client's header names
// and writes the one that the upstream gets.
//
// It never holds up an exchange, whatever the collector does: what finds no room
// is dropped and counted. It never sees a prompt, an answer or a credential.
package trace
