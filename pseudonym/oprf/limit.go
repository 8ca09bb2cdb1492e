package oprf

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A LimitError says that a client has asked for as much as it may.
type LimitError struct {
	// RetryAfter is how long to wait before the same request is within the limit,
	// if the client asks for nothing else. Zero if it never will be: the batch is
	// larger than the limit.
	RetryAfter time.Duration
	// IDs and Window are the limit.
	IDs    int
	Window time.Duration
}

// Error says what would pass.
func (e *LimitError) Error() string {
	limit := fmt.Sprintf("limit of %d ids in %v", e.IDs, e.Window)
	if e.RetryAfter == 0 {
		return limit + " is below this batch: send smaller ones"
	}
	return fmt.Sprintf("%s is reached: try again in %v", limit, e.RetryAfter)
}

// grain is the part of a window within which batches are remembered as one, as if
// all had come with the last: it bounds the memory, to grain+1 uses a client.
const grain = 64

// A limit is the use that one client makes, in a sliding window: no span of the
// window's length ever has more than ids.
type limit struct {
	ids    int
	window time.Duration

	mu   sync.Mutex
	now  time.Time // the latest that was seen: a clock that goes back frees nothing
	uses []use     // oldest first
}

type use struct {
	first, last time.Time
	ids         int
}

func newLimits(c ServerConfig) (map[string]*limit, error) {
	switch {
	case c.IDs < 1:
		return nil, errors.New("IDs: want at least 1")
	case c.Window < time.Second:
		return nil, errors.New("Window: want at least a second")
	case len(c.Clients) == 0:
		return nil, errors.New("Clients: there are none")
	}
	limits := map[string]*limit{}
	for _, client := range c.Clients {
		if client == "" || limits[client] != nil {
			return nil, errors.New("Clients: a name is empty or there twice")
		}
		limits[client] = &limit{ids: c.IDs, window: c.Window}
	}
	return limits, nil
}

// check says whether take would pass.
func (l *limit) check(now time.Time, ids int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room(now, ids)
}

// take counts ids, or nothing if they are too many.
func (l *limit) take(now time.Time, ids int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.room(now, ids); err != nil {
		return err
	}
	if n := len(l.uses); n > 0 && l.now.Sub(l.uses[n-1].first) < l.window/grain {
		l.uses[n-1].last = l.now
		l.uses[n-1].ids += ids
		return nil
	}
	l.uses = append(l.uses, use{l.now, l.now, ids})
	return nil
}

// room forgets the uses that have left the window and looks whether ids more fit.
func (l *limit) room(now time.Time, ids int) error {
	if now.After(l.now) {
		l.now = now
	}
	for len(l.uses) > 0 && l.now.Sub(l.uses[0].last) >= l.window {
		l.uses = l.uses[1:]
	}
	refused := &LimitError{IDs: l.ids, Window: l.window}
	if ids > l.ids {
		return refused
	}
	used, room := 0, l.ids-ids
	for _, u := range l.uses {
		used += u.ids
	}
	for _, u := range l.uses { // who has to leave?
		if used <= room {
			break
		}
		used -= u.ids
		refused.RetryAfter = u.last.Add(l.window).Sub(now)
	}
	if refused.RetryAfter > 0 {
		return refused
	}
	return nil
}
