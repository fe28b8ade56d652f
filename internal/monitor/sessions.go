package monitor

import (
	"container/list"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

const (
	// sessionEnd is how long after its last exchange a session has ended.
	sessionEnd = 30 * time.Minute
	// maxSessions is how many are kept; the one that was quiet for longest goes.
	maxSessions = 10000
	// maxSessionID is where an id is cut, in bytes.
	maxSessionID = 256
)

// Session is a conversation that is going on.
type Session struct {
	ID        string    `json:"id"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Exchanges int64     `json:"exchanges"`
	Bytes     int64     `json:"bytes"`
	Tokens    int64     `json:"tokens"`
}

type sessions struct {
	m    *Monitor
	mu   sync.Mutex
	byID map[string]*list.Element
	// bySeen has the one seen last in front.
	bySeen *list.List
}

type session struct {
	Session
	done func()
}

func (s *sessions) init(m *Monitor) {
	s.m, s.byID, s.bySeen = m, map[string]*list.Element{}, list.New()
}

// Seen notes an exchange of a session, with the bytes of its bodies and the tokens
// that it took. Without an id it does nothing.
func (m *Monitor) Seen(id string, bytes, tokens int64) {
	if id == "" {
		return
	}
	m.sessions.seen(id[:min(len(id), maxSessionID)], bytes, tokens, time.Now())
}

func (s *sessions) seen(id string, bytes, tokens int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e != nil && now.Sub(e.Value.(*session).LastSeen) >= sessionEnd {
		s.remove(e)
		e = nil
	}
	if e == nil {
		if len(s.byID) >= maxSessions {
			s.remove(s.bySeen.Back())
		}
		id = strings.Clone(id) // it may be a part of a whole head
		one := &session{Session: Session{ID: id, FirstSeen: now}}
		one.done = s.follow(one)
		e = s.bySeen.PushFront(one)
		s.byID[id] = e
	}
	one := e.Value.(*session)
	one.LastSeen = now
	one.Exchanges++
	one.Bytes += bytes
	one.Tokens += tokens
	s.bySeen.MoveToFront(e)
}

func (s *sessions) follow(one *session) (done func()) {
	if done = s.m.objects.follow(progress.KindSession, (*byte)(unsafe.Pointer(one)), int64(len(one.ID))+sessionBytes, ""); done == nil {
		s.m.pool.skip(progress.KindSession)
		return nothing
	}
	return done
}

// sessionBytes is about what a session takes beside its id.
const sessionBytes = 300

func (s *sessions) remove(e *list.Element) {
	one := s.bySeen.Remove(e).(*session)
	delete(s.byID, one.ID)
	one.done()
}

// expire removes the sessions that have ended.
func (s *sessions) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.bySeen.Back(); e != nil && now.Sub(e.Value.(*session).LastSeen) >= sessionEnd; e = s.bySeen.Back() {
		s.remove(e)
	}
}

func (s *sessions) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// SessionList is the sessions that are going on, for encoding/json.
type SessionList struct {
	Sessions []Session `json:"sessions"` // the one seen last first, never null
}

// Sessions lists the sessions that are going on.
func (m *Monitor) Sessions() SessionList {
	s := &m.sessions
	s.expire(time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Session, 0, len(s.byID))
	for e := s.bySeen.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*session).Session)
	}
	return SessionList{all}
}
