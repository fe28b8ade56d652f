// Package batchlog is the conversation log: it keeps what every exchange meant,
// and neither a slow disk nor a dead database is ever felt by a request.
//
// The path of a request calls Log.Append, which puts the exchange into a spool
// on local disk and returns. Behind the spool Log.Run reads the bytes, sends
// batches to the sink, which is a SQLite file or a Postgres server, tries again
// what failed, and sets aside what the sink will never take. A record leaves the
// spool only when the sink has it, so that it is there once, whatever ends the
// process.
//
// With redaction, or with the content hashed or left out, the text is reduced
// before it is appended: nothing else touches the disk.
//
// The package never sees a header, and never writes a prompt or a credential to
// the operational log or into a metric.
package batchlog
