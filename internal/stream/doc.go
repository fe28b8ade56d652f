// Package stream moves the bytes of an answer from the upstream to the client:
// it finds where events end, passes each on as soon as it is whole, and bounds
// what it holds on the way.
//
// It knows two framings, server-sent events and newline-delimited JSON, and
// treats everything else as plain bytes. What an event means is not its
// business: whoever needs to know is shown each event before it is written.
package stream
