// Package upstream knows the backends: which of them serves a model, whether it
// may be asked now, how many requests it takes at a time, and what to do when
// it fails before an answer began.
//
// It never knows what a prompt is: the caller says how a request may be
// repeated and judges answers.
package upstream
