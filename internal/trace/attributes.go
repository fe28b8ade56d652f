package trace

import (
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
)

// The names of the conventions, https://opentelemetry.io/docs/specs/semconv/.
// Those for generative AI are in development.
const (
	keyOperation    = "gen_ai.operation.name"
	keyProvider     = "gen_ai.provider.name"
	keyModel        = "gen_ai.request.model"
	keyStream       = "gen_ai.request.stream"
	keyAnswerModel  = "gen_ai.response.model"
	keyFinish       = "gen_ai.response.finish_reasons"
	keyFirstToken   = "gen_ai.response.time_to_first_chunk"
	keyInput        = "gen_ai.usage.input_tokens"
	keyOutput       = "gen_ai.usage.output_tokens"
	keyCached       = "gen_ai.usage.cache_read.input_tokens"
	keyReasoning    = "gen_ai.usage.reasoning.output_tokens"
	keyError        = "error.type"
	keyMethod       = "http.request.method"
	keyMethodAsIs   = "http.request.method_original"
	keyResend       = "http.request.resend_count"
	keyStatus       = "http.response.status_code"
	keyRoute        = "http.route"
	keyProtocol     = "network.protocol.version"
	keyAddress      = "server.address"
	keyPort         = "server.port"
	keyURL          = "url.full"
	keyPath         = "url.path"
	keyScheme       = "url.scheme"
	keyService      = "service.name"
	keyVersion      = "service.version"
	keyInstance     = "service.instance.id"
	eventFirstToken = "vega.first_token"
)

// Names of our own, in the words of the log.
const (
	keyRequestID      = "vega.request_id"
	keyUpstream       = "vega.upstream"
	keyAttempt        = "vega.attempt"
	keyAttempts       = "vega.attempts"
	keyCache          = "vega.cache_status"
	keyCacheReason    = "vega.cache_reason"
	keyBreakerRefused = "vega.breaker_refused"
	keyQueued         = "vega.queued_seconds"
	keyEndedBy        = "vega.ended_by"
	keyCode           = "vega.error_code"
)

// attributes collects a span's attributes.
type attributes []*common.KeyValue

func (a *attributes) add(key string, v *common.AnyValue) {
	*a = append(*a, &common.KeyValue{Key: key, Value: v})
}

// text leaves an empty one out.
func (a *attributes) text(key, s string) {
	if s != "" {
		a.add(key, textValue(s))
	}
}

func (a *attributes) texts(key string, list ...string) {
	values := make([]*common.AnyValue, len(list))
	for i, s := range list {
		values[i] = textValue(s)
	}
	a.add(key, &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: values}}})
}

func (a *attributes) count(key string, n int64) {
	a.add(key, &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}})
}

// some leaves a zero out.
func (a *attributes) some(key string, n int64) {
	if n != 0 {
		a.count(key, n)
	}
}

func (a *attributes) seconds(key string, s float64) {
	a.add(key, &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: s}})
}

func (a *attributes) yes(key string) {
	a.add(key, &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}})
}

func textValue(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}
