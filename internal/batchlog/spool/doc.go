// Package spool is the log on local disk between the path of a request and the
// database: a record is in the kernel before its answer ends, and stays until
// the consumer acknowledges it.
//
// It owns one directory: segments of checksummed records, and a state file that
// says how far the records have left and what became of each. It survives
// kill -9 without losing a record that Append returned, and a power cut with no
// more lost than was appended since the last sync. After either, a record may
// be read again that was acknowledged before: the sink must be idempotent by id.
//
// It never looks into a payload, never waits for the database, and never delays
// an answer for longer than Config.Late; what it must give up it counts, by
// reason. docs/spool-format.md draws the bytes.
package spool
