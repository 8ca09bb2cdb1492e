package dp

import (
	"errors"
	"fmt"
	"math"
)

// SmallestScale returns the smallest scale (b or σ; of Skellam the standard
// deviation) at which the event keeps the target, with the bracket of δ(ε) (of ε(0) if
// target.Delta is 0) that proves it. The event names the mechanism, its sensitivity and the number of uses; its
// Scale must be zero.
//
// The scale is the verified side of a bisection: its Hi is at most target.Delta, and a
// scale smaller by 1e-7 of it was not shown to keep the target. target.Epsilon must
// be above 0.
func SmallestScale(e Event, target Budget) (float64, Bracket, error) {
	if e.Scale != 0 {
		return 0, Bracket{}, errors.New("find smallest scale: leave Scale out")
	}
	if err := target.Validate(); err != nil {
		return 0, Bracket{}, fmt.Errorf("find smallest scale: %w", err)
	}
	if target.Epsilon == 0 {
		return 0, Bracket{}, errors.New("find smallest scale: Epsilon must be above 0")
	}
	const width = 1e-7
	size := max(e.Sensitivity, e.L1, e.L2)
	e.Scale = 1
	if err := e.Validate(); err != nil {
		return 0, Bracket{}, fmt.Errorf("find smallest scale: %w", err)
	}
	var proof, last Bracket
	keeps := func(scale float64) bool {
		e.Scale = scale
		a, err := Compose(e)
		if err != nil {
			return false
		}
		b, limit := Bracket{}, target.Delta
		if target.Delta > 0 {
			b, err = a.Delta(target.Epsilon)
		} else {
			b, err = a.Epsilon(0)
			limit = target.Epsilon
		}
		if err != nil {
			return false
		}
		last = b
		if !(b.Hi <= limit) {
			return false
		}
		proof = b
		return true
	}
	// For ε > 0 more noise is never worse: double, then bisect.
	hi := size / target.Epsilon
	for i := 0; !keeps(hi); i++ {
		if hi *= 2; i > 120 || hi > 1e30 {
			return 0, Bracket{}, errors.New("find smallest scale: no scale keeps this target: raise Epsilon or Delta")
		}
	}
	lo := hi / 2
	for keeps(lo) {
		if hi, lo = lo, lo/2; lo < 1e-30 {
			break
		}
	}
	// ln δ is smooth in ln scale: a secant, kept inside the bracket and aimed a little
	// to the safe side, needs few steps.
	value := func(b Bracket) float64 {
		if target.Delta == 0 {
			return math.Log(b.Hi / target.Epsilon)
		}
		return math.Log(max(b.Hi, 1e-320)) - math.Log(target.Delta)
	}
	keeps(lo)
	atLo := value(last)
	keeps(hi)
	atHi := value(last)
	for i := 0; hi-lo > width*hi && i < 200; i++ {
		mid := lo + (hi-lo)/2
		if s := lo + (hi-lo)*atLo/(atLo-atHi); i%3 != 2 && s > lo && s < hi {
			mid = min(max(s+width*hi/4*float64(1-2*(i%3)), lo+width*hi/8), hi-width*hi/8)
		}
		if keeps(mid) {
			hi, atHi = mid, value(last)
		} else {
			lo, atLo = mid, value(last)
		}
	}
	if !keeps(hi) { // for the proof of this very scale
		return 0, Bracket{}, errors.New("find smallest scale: the answer is not repeatable")
	}
	return hi, proof, nil
}
