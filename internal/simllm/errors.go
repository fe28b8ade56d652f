package simllm

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// dialect says whose error shape a path has.
type dialect int

const (
	ollama dialect = iota
	openai
	anthropic
)

type openaiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    any     `json:"code"`
}

type llamaError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Type    string `json:"type"`
}

type anthropicError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// errorObject is an error as the dialect spells it.
func (x *exchange) errorObject(status int, message string) any {
	switch {
	case x.dialect == ollama:
		return struct {
			Error string `json:"error"`
		}{message}
	case x.dialect == anthropic:
		return struct {
			Type      string         `json:"type"`
			Error     anthropicError `json:"error"`
			RequestID string         `json:"request_id"`
		}{"error", anthropicError{anthropicErrorType(status), message}, fmt.Sprintf("req_%024x", x.id())}
	case x.k.like == likeLlama:
		return struct {
			Error llamaError `json:"error"`
		}{llamaError{status, message, llamaErrorType(status)}}
	case x.k.like == likeVLLM:
		return struct {
			Error openaiError `json:"error"`
		}{openaiError{Message: message, Type: vllmErrorType(status), Code: status}}
	default:
		return struct {
			Error openaiError `json:"error"`
		}{openaiError{Message: message, Type: openaiErrorType(status)}}
	}
}

// fail answers with an error. It always returns an error, so that the handler
// that called it returns.
func (x *exchange) fail(status int, message string) error {
	body, err := json.Marshal(x.errorObject(status, message))
	if err != nil {
		return err
	}
	contentType := "application/json"
	if x.dialect == ollama || x.k.like == likeLlama || status == http.StatusBadRequest {
		contentType = "application/json; charset=utf-8"
	} else {
		body = append(body, '\n')
	}
	x.w.Header().Set("Content-Type", contentType)
	return x.status(status, body)
}

func openaiErrorType(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "invalid_request_error"
	case http.StatusNotFound:
		return "not_found_error"
	}
	return "api_error"
}

func llamaErrorType(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "invalid_request_error"
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusNotImplemented:
		return "not_supported_error"
	case http.StatusServiceUnavailable:
		return "unavailable_error"
	}
	return "server_error"
}

func vllmErrorType(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "BadRequestError"
	case http.StatusNotFound:
		return "NotFoundError"
	}
	return "InternalServerError"
}

func anthropicErrorType(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "invalid_request_error"
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable, 529:
		return "overloaded_error"
	}
	return "api_error"
}
