// Package simllm is a scripted LLM backend. It speaks Ollama's native API and
// the OpenAI and Anthropic forms that Ollama also serves, streams its answers
// word by word, and fails on request. The demo ships it; tests and benchmarks
// aim at it. It never calls anything, keeps nothing on disk, and must not be
// reachable from the serve command: whoever can reach it can steer it.
//
// The text of an answer is a function of the model, the prompt, the sampling
// parameters and the server's seed; ids and times move on, so that a replayed
// answer can be told from a new one (knob fixed stops them too). If a prompt
// holds "[[p:" and 16 characters, the answer repeats them, so that a client
// can see an answer meant for another.
//
// # Knobs
//
// A request is steered by headers (X-Sim-Fail-After: 3), by its model's name
// ("demo?tokens=9&delay=5ms"), and by what [Server.SetFault] or POST
// /__sim/fault set for all requests, in falling precedence. An unknown knob is
// a 400.
//
//	tokens       words of an answer, lines of a progress stream
//	token_bytes  exact length of each word; 0 leaves them natural
//	size         bytes of text, instead of tokens; length of huge-event
//	think_tokens words of reasoning, for models that think
//	dims         length of an embedding
//	words        "cjk" for words outside ASCII
//	ttft, delay  time before the first word and between words; a whole answer waits for their sum
//	fixed        true: ids and times are constant, so the same request gets the same bytes
//	like         whose manners to copy on the OpenAI paths: ollama, llama, vllm
//	usage        true or false: a usage chunk whatever the request asked
//	done         false: no "data: [DONE]"
//	comments     true: an SSE comment before each event, also before the first word
//	crlf, bom    true: CRLF line ends; a byte order mark before the first event
//	space        false: "data:" without the space after it
//	multiline    true: an event's data over two data lines
//	newline      false: the last NDJSON line ends without one
//	split        each event is written in pieces of so many bytes
//	fail         what goes wrong, see below
//	fail_after   events that pass before it; 0 with reset or hang means before the headers
//	fail_rate    share of the requests that fail, spread evenly
//	retry_after  seconds, sent with 429 and 503
//	slow         how long slowheaders takes
//
// Values of fail:
//
//	400 to 599   that status, in the dialect's error shape
//	busy         503 as a server with a full queue sends it
//	loading      503 as a server that still loads its model sends it
//	empty        200 without a body
//	close        the connection is closed before any byte of the answer
//	reset        the connection is reset
//	hang         nothing more, until the client leaves
//	slowheaders  the head arrives byte by byte, the answer then as usual
//	eof          the connection closes; the body has no end
//	clean-eof    the body ends properly, without its terminal event
//	error-event  the dialect's error object, then a proper end (like=vllm: then [DONE])
//	empty-delta  an empty delta, then a proper end, as Ollama's chat stream hides an error
//	half-event   half of an event, then as eof
//	bad-utf8     one word holds bytes that are not UTF-8; the answer goes on
//	huge-event   one word is 5 MiB long, or size bytes; the answer goes on
//	none         nothing, whatever a less specific knob says
//
// An answer that is not streamed counts as one event: eof, clean-eof,
// half-event and, with fail_after above 0, reset and hang stop in its middle.
package simllm
