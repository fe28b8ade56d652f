package simllm

// responseStream numbers the events and the output items.
type responseStream struct {
	*stream
	r      *response
	output int
}

func (r *response) stream() error {
	r.x.w.Header().Set("Cache-Control", "no-cache")
	t, err := r.x.stream(typeSSE)
	if err != nil {
		return err
	}
	s := &responseStream{stream: t, r: r}
	for _, name := range []string{"response.created", "response.in_progress"} {
		if err := s.say(name, object{"response": r.started()}); err != nil {
			return err
		}
	}
	if len(r.a.thinking) > 0 {
		if err := s.reasoning(); err != nil {
			return err
		}
	}
	if len(r.a.calls) == 0 {
		if err := s.message(); err != nil {
			return err
		}
	}
	for i := range r.a.calls {
		if err := s.call(i); err != nil {
			return err
		}
	}
	end := "response.completed"
	if r.a.cut {
		end = "response.incomplete"
	}
	return s.say(end, object{"response": r.finished()})
}

func (s *responseStream) say(name string, members object) error {
	return s.event(name, with(members, object{"type": name, "sequence_number": s.sent}))
}

// item sends the events of one output item: added, what send sends, done.
func (s *responseStream) item(added, done object, send func(at object) error) error {
	at := object{"output_index": s.output}
	s.output++
	if err := s.say("response.output_item.added", with(at, object{"item": added})); err != nil {
		return err
	}
	if err := send(with(at, object{"item_id": done["id"]})); err != nil {
		return err
	}
	return s.say("response.output_item.done", with(at, object{"item": done}))
}

// deltas sends a delta event for each word.
func (s *responseStream) deltas(name string, at object, words []string) error {
	event, err := newTemplate(with(at, object{"type": name, "delta": holeWord, "sequence_number": holeSeq}))
	if err != nil {
		return err
	}
	for _, word := range words {
		if err := s.token(name, event, word); err != nil {
			return err
		}
	}
	return nil
}

func (s *responseStream) reasoning() error {
	added := object{"id": s.r.reasoningID(), "type": "reasoning", "summary": []any{}}
	return s.item(added, s.r.reasoningItem(), func(at object) error {
		at = with(at, object{"summary_index": 0})
		// Ollama leaves out the events around the part, over which OpenAI's own
		// stream accumulator stumbles.
		whole := s.x.k.like != likeOllama
		if whole {
			part := object{"type": "summary_text", "text": ""}
			if err := s.say("response.reasoning_summary_part.added", with(at, object{"part": part})); err != nil {
				return err
			}
		}
		if err := s.deltas("response.reasoning_summary_text.delta", at, s.r.a.thinking); err != nil {
			return err
		}
		err := s.say("response.reasoning_summary_text.done", with(at, object{"text": s.r.a.thought()}))
		if err != nil || !whole {
			return err
		}
		part := object{"type": "summary_text", "text": s.r.a.thought()}
		return s.say("response.reasoning_summary_part.done", with(at, object{"part": part}))
	})
}

func (s *responseStream) message() error {
	text := s.r.a.text()
	part := s.r.textPart(text)
	added := s.r.messageItem("in_progress", []any{})
	return s.item(added, s.r.messageItem("completed", []any{part}), func(at object) error {
		at = with(at, object{"content_index": 0})
		if err := s.say("response.content_part.added", with(at, object{"part": s.r.textPart("")})); err != nil {
			return err
		}
		withLogprobs := with(at, object{"logprobs": []any{}})
		if err := s.deltas("response.output_text.delta", withLogprobs, s.r.a.words); err != nil {
			return err
		}
		if err := s.say("response.output_text.done", with(withLogprobs, object{"text": text})); err != nil {
			return err
		}
		return s.say("response.content_part.done", with(at, object{"part": part}))
	})
}

func (s *responseStream) call(i int) error {
	args := s.r.a.calls[i].argsJSON()
	return s.item(s.r.callItem(i, "in_progress", ""), s.r.callItem(i, "completed", args), func(at object) error {
		if err := s.deltas("response.function_call_arguments.delta", at, []string{args}); err != nil {
			return err
		}
		return s.say("response.function_call_arguments.done", with(at, object{"arguments": args}))
	})
}
