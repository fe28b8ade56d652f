package simllm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

type manageRequest struct {
	Model, Name, From   string
	Source, Destination string
	Stream              *bool
}

func (r *manageRequest) model() string {
	if r.Model != "" {
		return r.Model
	}
	return r.Name // as older clients call it
}

// progress is a line of what pull, push and create send.
type progress struct {
	Status    string `json:"status"`
	Digest    string `json:"digest,omitempty"`
	Total     int64  `json:"total,omitempty"`
	Completed int64  `json:"completed,omitempty"`
}

func (x *exchange) beginManage() (*manageRequest, error) {
	var req manageRequest
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	return &req, x.begin(req.model())
}

// pull installs any model it is asked for.
func (x *exchange) pull() error {
	req, err := x.beginManage()
	if err != nil {
		return err
	}
	if x.model == "" {
		return x.fail(http.StatusBadRequest, "invalid model name")
	}
	lines := []progress{{Status: "pulling manifest"}}
	lines = append(lines, x.transfer("pulling")...)
	lines = append(lines, progress{Status: "verifying sha256 digest"}, progress{Status: "writing manifest"})
	return x.report(req, lines, func() bool { return x.s.models.add(x.model, x.model, time.Now()) })
}

func (x *exchange) push() error {
	req, err := x.beginManage()
	if err != nil {
		return err
	}
	if !x.s.models.has(x.model) {
		return x.unknownModel()
	}
	lines := []progress{{Status: "retrieving manifest"}}
	lines = append(lines, x.transfer("pushing")...)
	lines = append(lines, progress{Status: "pushing manifest"})
	return x.report(req, lines, func() bool { return true })
}

func (x *exchange) create() error {
	req, err := x.beginManage()
	if err != nil {
		return err
	}
	if x.model == "" {
		return x.fail(http.StatusBadRequest, "invalid model name")
	}
	kind := x.model
	if req.From != "" {
		kind = req.From
		if !x.s.models.has(kind) {
			return x.fail(http.StatusNotFound, fmt.Sprintf("model '%s' not found", kind))
		}
	}
	layer := sha256.Sum256([]byte(kind))
	lines := []progress{
		{Status: "using existing layer sha256:" + hex.EncodeToString(layer[:])},
		{Status: "writing manifest"},
	}
	return x.report(req, lines, func() bool { return x.s.models.add(x.model, kind, time.Now()) })
}

// transfer is the part of a report that counts bytes, a line for each token.
func (x *exchange) transfer(verb string) []progress {
	sum := sha256.Sum256([]byte(x.model))
	digest := hex.EncodeToString(sum[:])
	n := max(x.k.tokens, 1)
	lines := make([]progress, n)
	for i := range lines {
		lines[i] = progress{
			Status: verb + " " + digest[:12], Digest: "sha256:" + digest,
			Total: modelSize, Completed: modelSize * int64(i+1) / int64(n),
		}
	}
	return lines
}

// report sends progress, does the work, and ends with success.
func (x *exchange) report(req *manageRequest, lines []progress, do func() bool) error {
	const tooMany = "too many models: delete some first"
	success := progress{Status: "success"}
	if req.Stream != nil && !*req.Stream {
		if !do() {
			return x.fail(http.StatusInternalServerError, tooMany)
		}
		return x.json(success, len(lines))
	}
	t, err := x.stream(typeNDJSON)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err := t.paced("", line); err != nil {
			return err
		}
	}
	t.last = true
	if !do() {
		return t.event("", x.errorObject(http.StatusInternalServerError, tooMany))
	}
	return t.event("", success)
}

func (x *exchange) copyModel() error {
	req, err := x.beginManage()
	if err != nil {
		return err
	}
	if !x.s.models.has(req.Source) {
		return x.fail(http.StatusNotFound, fmt.Sprintf("model %q not found", req.Source))
	}
	if req.Destination == "" {
		return x.fail(http.StatusBadRequest, fmt.Sprintf("destination %q is invalid", req.Destination))
	}
	if !x.s.models.add(req.Destination, req.Source, time.Now()) {
		return x.fail(http.StatusInternalServerError, "too many models: delete some first")
	}
	return x.status(http.StatusOK, nil)
}

func (x *exchange) deleteModel() error {
	if _, err := x.beginManage(); err != nil {
		return err
	}
	if !x.s.models.remove(x.model) {
		return x.unknownModel()
	}
	return x.status(http.StatusOK, nil)
}

func (x *exchange) blobExists() error {
	if err := x.begin(""); err != nil {
		return err
	}
	if !x.s.models.hasBlob(x.path) {
		return x.fail(http.StatusNotFound, fmt.Sprintf("blob %q not found", x.path))
	}
	return x.status(http.StatusOK, nil)
}

// blobUpload counts and hashes the bytes, and keeps none.
func (x *exchange) blobUpload() error {
	if err := x.begin(""); err != nil {
		return err
	}
	want, ok := strings.CutPrefix(x.path, "sha256:")
	if _, err := hex.DecodeString(want); !ok || err != nil || len(want) != 2*sha256.Size {
		return x.fail(http.StatusBadRequest, "invalid digest format")
	}
	if x.s.models.hasBlob(x.path) {
		return x.status(http.StatusOK, nil)
	}
	h := sha256.New()
	n, err := io.Copy(h, x.r.Body)
	x.s.uploaded.Add(n)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return x.fail(http.StatusBadRequest, fmt.Sprintf("digest mismatch, expected %q, got %q", x.path, "sha256:"+got))
	}
	if !x.s.models.addBlob(x.path) {
		return x.fail(http.StatusInternalServerError, "too many blobs: restart the simulator")
	}
	return x.status(http.StatusCreated, nil)
}
