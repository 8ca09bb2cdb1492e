package dptest_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// coins draws how often an event of probability 1 − num/den fails first: P(k) = (1−q)·qᵏ with
// q = num/den.
func coins(num, den uint64, below func(uint64) uint64) (k int64) {
	for below(den) < num {
		k++
	}
	return k
}

// samplers are audited on every tape. The sound one is the difference of two
// geometric draws, of ratio q = 1/2: discrete Laplace of ε = ln 2 for a step of 1.
func samplers() []dptest.Sabotage {
	exact := func(name, source string, epsilon float64, draw func(v int64, t *dptest.Tape) int64) dptest.Sabotage {
		return dptest.Sabotage{Name: "sampler: " + name, Source: source, Check: func() error {
			return dptest.CheckSampler(dptest.SamplerKit[int64]{Draw: draw, Sensitivity: 1, Claim: dp.Budget{Epsilon: epsilon}})
		}}
	}
	two := func(t *dptest.Tape) int64 {
		up := coins(1, 2, t.Below)
		return up - coins(1, 2, t.Below)
	}
	calls := int64(0)
	return []dptest.Sabotage{
		exact("summed in float64 where it holds no odd number", "known bugs: noise at the input's ulp", math.Ln2, func(v int64, t *dptest.Tape) int64 {
			return int64(math.Min(float64(v)+float64(two(t)), 1<<62))
		}),
		exact("both halves share their first coin", "randomness used twice", math.Ln2, func(v int64, t *dptest.Tape) int64 {
			if t.Below(2) == 1 {
				return v
			}
			return v + two(t)
		}),
		exact("the sign is the first coin of the size", "randomness used twice", math.Ln2, func(v int64, t *dptest.Tape) int64 {
			x := t.Below(256)
			size := int64(bits.TrailingZeros64(x | 1<<8))
			if x&1 == 0 {
				size = -size
			}
			return v + size
		}),
		{Name: "sampler: eight coins taken for a Gaussian", Source: "the central limit theorem has tails that end", Check: func() error {
			return dptest.CheckSampler(dptest.SamplerKit[int64]{Sensitivity: 1, Claim: dp.Budget{Epsilon: 1, Delta: 0.01}, Draw: func(v int64, t *dptest.Tape) int64 {
				return v + int64(bits.OnesCount64(t.Below(256))) - 4
			}})
		}},
		{Name: "sampler: inverse CDF in float64 (porous low bits)", Source: "Mironov 2012, On Significance of the Least Significant Bits", Check: func() error {
			return dptest.CheckSampler(dptest.SamplerKit[float64]{Sensitivity: 1, Claim: dp.Budget{Epsilon: 1}, Bits: 13, Draw: func(v int64, t *dptest.Tape) float64 {
				x := math.Log((float64(t.Below(1<<12)) + 0.5) / (1 << 12))
				if t.Below(2) == 0 {
					x = -x
				}
				return float64(v) + x
			}})
		}},
		exact("scale rounded down by 10⁻⁶", "known bugs: calibration in the wrong rounding mode", math.Ln2*(1-1e-6), func(v int64, t *dptest.Tape) int64 { return v + two(t) }),
		exact("noise of one sign", "known bugs", math.Ln2, func(v int64, t *dptest.Tape) int64 { return v + coins(1, 2, t.Below) }),
		exact("truncated support", "Google's Gaussian ends at 8.8 σ", math.Ln2, func(v int64, t *dptest.Tape) int64 { return v + min(max(two(t), -8), 8) }),
		exact("minus zero counted twice", "Canonne, Kamath, Steinke 2020, Algorithm 2, without its rejection", math.Ln2, func(v int64, t *dptest.Tape) int64 {
			x := coins(1, 2, t.Below)
			if t.Below(2) == 0 {
				x = -x
			}
			return v + x
		}),
		// Three of five say the truth, one of five each of the two others: ε = ln 3.
		exact("biased by a remainder", "below(5) as a byte modulo 5", math.Log(3), func(v int64, t *dptest.Tape) int64 {
			return ((v%3+3)%3 + int64(max(t.Below(256)%5, 2)-2)) % 3
		}),
		exact("redrawn until not negative", "counts that shall look like counts", math.Ln2, func(v int64, t *dptest.Tape) int64 {
			for {
				if x := max(v, 0) + two(t); x >= 0 {
					return x
				}
			}
		}),
		exact("smaller noise on small values", "variance stabilised by the value", math.Ln2, func(v int64, t *dptest.Tape) int64 {
			if v == 0 {
				return v + two(t)/2
			}
			return v + two(t)
		}),
		exact("remembers its last draw", "a cached second normal", math.Ln2, func(v int64, t *dptest.Tape) int64 {
			calls++
			return v + two(t) + calls%2
		}),
		{Name: "sampler: sum of discrete Gaussians taken as a discrete Gaussian", Source: "Kairouz, Liu, Steinke 2021, The Distributed Discrete Gaussian Mechanism", Check: func() error {
			// Two shares of σ = 0.35, claimed at σ√2 of one.
			a, err := dp.Compose(dp.Event{Mechanism: dp.DiscreteGaussian, Scale: 0.35 * math.Sqrt2, Sensitivity: 1, Count: 1})
			if err != nil {
				return nil
			}
			b, err := a.Delta(2)
			if err != nil {
				return nil
			}
			share := gaussianTable(0.35, 1<<12)
			return dptest.CheckSampler(dptest.SamplerKit[int64]{Sensitivity: 1, Claim: dp.Budget{Epsilon: 2, Delta: b.Hi + 1e-3}, Bits: 24, Draw: func(v int64, t *dptest.Tape) int64 {
				return v + share(t) + share(t)
			}})
		}},
	}
}

// gaussianTable draws from a discrete Gaussian whose masses are rounded to 1/n.
func gaussianTable(sigma float64, n uint64) func(*dptest.Tape) int64 {
	var all float64
	for x := -20.0; x <= 20; x++ {
		all += math.Exp(-x * x / (2 * sigma * sigma))
	}
	var table []int64
	for x := int64(-20); x <= 20; x++ {
		k := math.Round(float64(n) * math.Exp(-float64(x*x)/(2*sigma*sigma)) / all)
		for range int(k) {
			table = append(table, x)
		}
	}
	for uint64(len(table)) < n {
		table = append(table, 0)
	}
	return func(t *dptest.Tape) int64 { return table[min(t.Below(n), uint64(len(table)-1))] }
}

// toyLaplace is a small discrete Laplace mechanism, right until one of its faults is
// switched on. It reads a seed of 8 bytes a call.
func toyLaplace(fault string) func(p dp.Params, s dp.Sensitivity) (func([]int64, io.Reader) error, error) {
	var remembered sync.Map
	return func(p dp.Params, s dp.Sensitivity) (func([]int64, io.Reader) error, error) {
		err := p.Validate()
		if fault == "a negative LInf accepted" {
			s.LInf = max(s.LInf, 1)
		}
		if min(s.L0, s.L1, s.L2Squared, s.LInf) < 1 {
			err = errors.New("no sensitivity")
		}
		if s.L1 > 1<<40 && fault != "the product of bounds wraps" {
			err = errors.New("too far")
		}
		if fault == "open on NaN" && math.IsNaN(p.Epsilon) || fault == "δ out of range accepted" && p.Epsilon > 0 {
			err = nil
		}
		if err != nil {
			return nil, err
		}
		b := float64(s.L1) / p.Epsilon
		switch fault {
		case "scaled by L2":
			b = math.Sqrt(float64(s.L2Squared)) / p.Epsilon
		case "scaled by LInf, L0 ignored":
			b = float64(s.LInf) / p.Epsilon
		case "scaled by L0, LInf ignored":
			b = float64(s.L0) / p.Epsilon
		case "the product of bounds wraps":
			b = float64(max(s.L0*s.LInf, 1)) / p.Epsilon
		case "b and 1/b":
			b = p.Epsilon / float64(s.L1)
		case "scale rounded down to an integer":
			b = math.Max(math.Floor(b), 1)
		case "variance taken as scale":
			b = math.Sqrt(b)
		case "standard deviation taken as scale":
			b = b / math.Sqrt2
		case "half the noise, by averaging two draws":
			b = b / 2
		case "no noise where ε is large":
			if p.Epsilon >= 4 {
				b = 0
			}
		case "a scale beyond 32 bits is none":
			if b >= 1<<32 {
				b = 0
			}
		case "scales remembered by ε alone":
			if at, ok := remembered.LoadOrStore(p.Epsilon, b); ok {
				b = at.(float64)
			}
		case "Δ/ε rounded up to a power of two": // sound
			b = math.Exp2(math.Ceil(math.Log2(b)))
		}
		fixed := rand.New(rand.NewPCG(1, 2))
		return func(values []int64, random io.Reader) error {
			var seed [32]byte
			read := io.ReadFull
			if fault == "a seed that came in pieces is cut" {
				read = func(r io.Reader, b []byte) (int, error) { return r.Read(b) }
			}
			if _, err := read(random, seed[:8]); err != nil && fault != "a failing generator is a seed of zeros" {
				if fault == "a failing generator is overlooked" {
					return nil
				}
				if fault != "values left behind on failure" {
					clear(values)
				}
				return err
			}
			source := rand.New(rand.NewChaCha8(seed))
			switch fault {
			case "math/rand of a fixed seed":
				source = fixed
			case "one seed for all calls":
				source = rand.New(rand.NewPCG(3, 4))
			}
			draw := func() int64 {
				e := int64(math.Floor(source.ExpFloat64() * b))
				return e - int64(math.Floor(source.ExpFloat64()*b))
			}
			switch {
			case fault == "half the noise in vectors of 10 to 50" && len(values) > 10 && len(values) < 50,
				fault == "half the noise in vectors from 1000" && len(values) >= 1000:
				b := b / 2
				draw = func() int64 {
					e := int64(math.Floor(source.ExpFloat64() * b))
					return e - int64(math.Floor(source.ExpFloat64()*b))
				}
			case fault == "the sum of two noises": // sound
				once := draw
				draw = func() int64 { return once() + once() }
			}
			if fault == "real noise cut to an integer" {
				draw = func() int64 { return int64(laplaceOf(b)(source)) }
			}
			shared, last := draw(), int64(0)
			var stripe [512]int64
			if fault == "the stream starts anew every 512 cells" {
				for i := range stripe {
					stripe[i] = draw()
				}
			}
			for i, v := range values {
				x := draw()
				switch fault {
				case "one draw for all cells":
					x = shared
				case "the stream starts anew every 512 cells":
					x = stripe[i%512]
				case "the last cells of a chunk are missed":
					if i%1000 == 999 {
						x = 0
					}
				case "what four workers leave over is missed":
					if len(values) >= 100 && i >= len(values)/4*4 {
						x = 0
					}
				case "empty cells get no noise":
					if v == 0 {
						x = 0
					}
				case "noise of one sign":
					x = max(x, -x)
				case "noise clamped":
					x = min(max(x, int64(-2*b)), int64(2*b))
				case "rounded to tens before the noise":
					v = int64(math.Round(float64(v)/10)) * 10
				case "added as float64":
					values[i] = int64(float64(v) + float64(x))
					continue
				case "wraps at int64":
					values[i] = v + x
					continue
				case "clamped to the range of int32":
					v = min(max(v, math.MinInt32), math.MaxInt32)
				case "noise grows with the value":
					x += x * (v >> 40)
				case "values from 1000 to 2000 get half":
					if v >= 1000 && v < 2000 {
						x /= 2
					}
				case "blocks on a large negative value":
					if v < -1<<40 {
						select {}
					}
				case "a panic on the smallest value":
					if v == math.MinInt64 {
						panic("no absolute value")
					}
				case "a pair of cells has one size and two signs":
					if i%2 == 1 {
						x = values[i-1] - last
						if draw() > 0 {
							x = -x
						}
					}
					last = v
				case "the larger of two neighbours gets half":
					if i > 0 && v > last {
						x /= 2
					}
					last = v
				case "saturates at 2⁶¹": // sound
					v = min(max(v, -1<<61), 1<<61)
				}
				if v > 0 && x > math.MaxInt64-v {
					values[i] = math.MaxInt64
				} else if v < 0 && x < math.MinInt64-v {
					values[i] = math.MinInt64
				} else {
					values[i] = v + x
				}
			}
			return nil
		}, nil
	}
}

// classicSigma is Dwork and Roth 2014, Theorem A.1.
func classicSigma(p dp.Params) float64 { return math.Sqrt(2*math.Log(1.25/p.Delta)) / p.Epsilon }

func mechanisms() (builds []dptest.Sabotage) {
	for _, row := range [][2]string{
		{"scaled by L2", "known bugs"},
		{"scaled by LInf, L0 ignored", "known bugs"},
		{"scaled by L0, LInf ignored", "known bugs"},
		{"the product of bounds wraps", "Google's library v3.0.0, fault 2"},
		{"b and 1/b", "known bugs"},
		{"scale rounded down to an integer", "known bugs"},
		{"variance taken as scale", "known bugs"},
		{"standard deviation taken as scale", "known bugs"},
		{"half the noise, by averaging two draws", "known bugs"},
		{"real noise cut to an integer", "known bugs: float to int conversion"},
		{"math/rand of a fixed seed", "known bugs"},
		{"one seed for all calls", "known bugs"},
		{"one draw for all cells", "known bugs"},
		{"the stream starts anew every 512 cells", "known bugs: a reused seed a worker"},
		{"the last cells of a chunk are missed", "off by one"},
		{"what four workers leave over is missed", "a vector that is not a multiple of the workers"},
		{"empty cells get no noise", "known bugs: empty groups"},
		{"noise of one sign", "known bugs"},
		{"noise clamped", "known bugs"},
		{"rounded to tens before the noise", "Casacuberta et al. 2022, Widespread Underestimation of Sensitivity"},
		{"added as float64", "known bugs: noise at the input's ulp"},
		{"wraps at int64", "Google's library v3.0.0, fault 4"},
		{"clamped to the range of int32", "known bugs"},
		{"noise grows with the value", "multiplicative noise"},
		{"a failing generator is overlooked", "known bugs"},
		{"values left behind on failure", "known bugs"},
		{"open on NaN", "known bugs"},
		{"δ out of range accepted", "known bugs"},
		{"a negative LInf accepted", "known bugs: fail-open on negative"},
		{"no noise where ε is large", "a shortcut"},
		{"a scale beyond 32 bits is none", "a shortcut"},
		{"scales remembered by ε alone", "a cache whose key lacks a field"},
		{"a failing generator is a seed of zeros", "an error that is not looked at"},
		{"a seed that came in pieces is cut", "Read for ReadFull"},
		{"half the noise in vectors of 10 to 50", "a fast path"},
		{"half the noise in vectors from 1000", "a fast path"},
		{"values from 1000 to 2000 get half", "a table with a wrong row"},
		{"blocks on a large negative value", "Google's library v3.0.0, fault 3, for values"},
		{"a panic on the smallest value", "|MinInt64| is negative"},
		{"a pair of cells has one size and two signs", "randomness used twice: no correlation shows it"},
		{"the larger of two neighbours gets half", "noise that depends on other cells"},
	} {
		builds = append(builds, dptest.Sabotage{Name: "mechanism: " + row[0], Source: row[1], Check: func() error {
			return dptest.CheckMechanism(dptest.MechanismKit{New: toyLaplace(row[0]), Mechanism: dp.DiscreteLaplace, Samples: 5000, Patience: time.Second})
		}})
	}
	for _, row := range []struct {
		name, source string
		sigma        func(p dp.Params) float64
	}{
		{"Gaussian by a δ that is fixed", "a default for what is given", func(p dp.Params) float64 { p.Delta = 0.01; return classicSigma(p) }},
		{"Gaussian by a logarithm to base 10", "known bugs: formulas that are loose at δ = 0.01 hide it", func(p dp.Params) float64 { return classicSigma(p) / math.Sqrt(math.Ln10) }},
	} {
		builds = append(builds, dptest.Sabotage{Name: "mechanism: " + row.name, Source: row.source, Check: func() error {
			return dptest.CheckMechanism(dptest.MechanismKit{Mechanism: dp.DiscreteGaussian, Delta: 0.01, Samples: 5000, New: func(p dp.Params, s dp.Sensitivity) (func([]int64, io.Reader) error, error) {
				if _, err := dp.Calibrate(p, s); err != nil {
					return nil, err
				}
				sigma := row.sigma(p) * math.Sqrt(float64(s.L2Squared))
				return func(values []int64, random io.Reader) error {
					var seed [32]byte
					if _, err := io.ReadFull(random, seed[:]); err != nil {
						clear(values)
						return err
					}
					r := rand.New(rand.NewChaCha8(seed))
					for i, v := range values {
						const most = 1 << 61
						values[i] = min(max(v, -most), most) + int64(min(max(math.Round(r.NormFloat64()*sigma), -most), most))
					}
					return nil
				}, nil
			}})
		}})
	}
	after := func(name string, change func(values, noised []int64)) {
		builds = append(builds, dptest.Sabotage{Name: "mechanism: " + name, Source: "what is done to noised numbers in view of the true ones", Check: func() error {
			return dptest.CheckMechanism(dptest.MechanismKit{Mechanism: dp.DiscreteLaplace, Samples: 5000, New: func(p dp.Params, s dp.Sensitivity) (func([]int64, io.Reader) error, error) {
				add, err := toyLaplace("")(p, s)
				if err != nil {
					return nil, err
				}
				return func(values []int64, random io.Reader) error {
					was := slices.Clone(values)
					if err := add(values, random); err != nil {
						return err
					}
					change(was, values)
					return nil
				}, nil
			}})
		}})
	}
	const most = 1 << 62 // the toy saturates beyond
	after("published numbers made even", func(_, noised []int64) {
		for i := range noised {
			noised[i] &^= 1
		}
	})
	after("noise pulled half way back to the truth", func(was, noised []int64) {
		for i := range noised {
			if was[i] < most && was[i] > -most {
				noised[i] = was[i] + (noised[i]-was[i])/2
			}
		}
	})
	after("totals kept: the last cell takes back all noise", func(was, noised []int64) {
		sum := int64(0)
		for i, v := range was {
			if v > most || v < -most {
				return
			}
			sum += noised[i] - v
		}
		noised[len(noised)-1] -= sum
	})
	after("small values published as they are", func(was, noised []int64) {
		for i, v := range was {
			if v == 1 {
				noised[i] = 1
			}
		}
	})
	after("odd cells take the noise of their neighbour", func(was, noised []int64) {
		for i := 1; i < len(noised); i += 2 {
			if was[i] < most && was[i] > -most {
				noised[i] = was[i] + noised[i-1] - was[i-1]
			}
		}
	})
	after("an output that equals the truth is drawn again", func(was, noised []int64) {
		for i := range noised {
			if noised[i] == was[i] && was[i] < most {
				noised[i]++
			}
		}
	})
	return builds
}

// toySelection is a small selection, right until one of its faults is switched on.
func toySelection(fault string) func(b dp.Budget, s dp.Sensitivity) (func([]int64, io.Reader) ([]bool, error), error) {
	return func(b dp.Budget, s dp.Sensitivity) (func([]int64, io.Reader) ([]bool, error), error) {
		if !(b.Epsilon > 0 && b.Epsilon < 1e9) || min(s.L0, s.L1, s.L2Squared, s.LInf) < 1 {
			return nil, errors.New("out of range")
		}
		if !(b.Delta > 0 && b.Delta < 1) && (fault != "δ = 0 read as unset" || b.Delta != 0) && (fault != "open on a NaN δ" || !math.IsNaN(b.Delta)) {
			return nil, errors.New("out of range")
		}
		scale, share := float64(s.L1)/b.Epsilon, b.Delta/float64(s.L0)
		switch fault {
		case "δ = 0 read as unset":
			if b.Delta == 0 {
				share = 1e-5
			}
		case "δ is not split over L0":
			share = b.Delta
		case "ε is not split over L0":
			scale = float64(s.LInf) / b.Epsilon
		}
		// P(X ≥ k) = q^k/(1+q); below 0 by symmetry.
		q := math.Exp(-1 / scale)
		tail := func(k int64) float64 {
			if k <= 0 {
				return 1 - math.Pow(q, float64(1-k))/(1+q)
			}
			return math.Pow(q, float64(k)) / (1 + q)
		}
		above := math.Log(share*(1+q)) / math.Log(q)
		threshold := s.LInf + int64(math.Ceil(above+1e-9))
		if above < 0 {
			for threshold = s.LInf - 40; tail(threshold-s.LInf) > share; threshold++ {
			}
		}
		switch fault {
		case "> for ≥":
			threshold--
		case "threshold cut to an integer":
			threshold = int64(float64(s.LInf) + above)
		case "threshold without LInf":
			threshold -= s.LInf
		case "threshold by the continuous Laplace":
			threshold = int64(math.Ceil(float64(s.LInf) - scale*math.Log(2*share)))
		case "infinite threshold converted":
			if 1-share/2 == 1 {
				threshold = math.MinInt64
			}
		case "δ floored at 1e-5":
			if share < 1e-5 {
				threshold = s.LInf + int64(math.Ceil(math.Log(1e-5)/math.Log(q)))
			}
		}
		return func(counts []int64, random io.Reader) ([]bool, error) {
			var seed [32]byte
			if _, err := io.ReadFull(random, seed[:8]); err != nil {
				return nil, err
			}
			source := rand.New(rand.NewChaCha8(seed))
			draw := func() int64 {
				up := math.Floor(source.ExpFloat64() * scale)
				return int64(up - math.Floor(source.ExpFloat64()*scale))
			}
			shared, crowd := draw(), int64(0)
			published := make([]bool, len(counts))
			threshold, passed := threshold, 0
			switch {
			case fault == "a lower threshold where keys are many" && len(counts) > 5000:
				threshold -= int64(3*scale) + 1
			case fault == "δ is split over the keys that are there":
				threshold = s.LInf + int64(math.Ceil(math.Log(b.Delta/float64(max(len(counts), 1))*(1+q))/math.Log(q)+1e-9))
			}
			for i, c := range counts {
				x := draw()
				crowd = max(crowd, c)
				switch fault {
				case "one draw for all keys":
					x = shared
				case "no noise":
					x = 0
				case "threshold relative to the largest count":
					published[i] = c > 0 && c+x >= max(threshold, crowd/2)
					continue
				}
				at := c > 0
				switch fault {
				case "empty groups take part":
					at = true
				case "the sign of a count is lost":
					c = max(c, -c)
					at = c != 0
				}
				sum := c + x
				if c > 1<<62 && fault != "counts wrap" {
					sum = c
				}
				if fault == "keys of less than half the threshold are not looked at" {
					at = at && c >= threshold/2
				}
				published[i] = at && sum >= threshold
				switch fault {
				case "sure from the threshold and two scales":
					published[i] = published[i] || at && c >= threshold+int64(2*scale)
				case "drawn twice, and one is enough":
					published[i] = published[i] || at && c < 1<<62 && c+draw() >= threshold
				case "no more than 100 keys":
					if published[i] {
						passed++
					}
					published[i] = published[i] && passed <= 100
				case "one in four is left out": // sound
					published[i] = published[i] && source.IntN(4) > 0
				case "a key that passes opens the next one":
					published[i] = published[i] || at && i > 0 && published[i-1]
				case "one key in a thousand is published for nothing":
					published[i] = published[i] || at && source.IntN(1000) == 0
				}
			}
			if fault == "the largest new key is always published" && len(counts) > 1 {
				if i := slices.Index(counts, slices.Max(counts)); counts[i] > 0 {
					published[i] = true
				}
			}
			if fault == "an error where nothing passes" && len(published) == 1 && !published[0] {
				return nil, errors.New("nothing to publish")
			}
			return published, nil
		}, nil
	}
}

func thresholds() (builds []dptest.Sabotage) {
	for _, row := range [][2]string{
		{"> for ≥", "known bugs"},
		{"threshold cut to an integer", "known bugs"},
		{"threshold without LInf", "known bugs"},
		{"threshold by the continuous Laplace", "a formula of another noise"},
		{"δ is not split over L0", "known bugs"},
		{"ε is not split over L0", "known bugs"},
		{"δ = 0 read as unset", "known bugs"},
		{"δ floored at 1e-5", "a default for what is given"},
		{"infinite threshold converted", "Google's library v3.0.0, fault 1"},
		{"open on a NaN δ", "known bugs"},
		{"one draw for all keys", "known bugs"},
		{"no noise", "k-anonymity taken for privacy"},
		{"threshold relative to the largest count", "known bugs: dependence of other keys"},
		{"empty groups take part", "known bugs"},
		{"the sign of a count is lost", "known bugs"},
		{"counts wrap", "Google's library v3.0.0, fault 4"},
		{"an error where nothing passes", "known bugs: errors that depend on data"},
		{"a lower threshold where keys are many", "a default by size"},
		{"δ is split over the keys that are there", "known bugs: dependence of other keys"},
		{"no more than 100 keys", "known bugs: dependence of other keys"},
		{"sure from the threshold and two scales", "a shortcut"},
		{"drawn twice, and one is enough", "a retry"},
		{"keys of less than half the threshold are not looked at", "k-anonymity first, at a threshold that does not know of it"},
		{"a key that passes opens the next one", "known bugs: dependence of other keys"},
		{"one key in a thousand is published for nothing", "a default that fails open"},
		{"the largest new key is always published", "known bugs: dependence of other keys"},
	} {
		builds = append(builds, dptest.Sabotage{Name: "threshold: " + row[0], Source: row[1], Check: func() error {
			return dptest.CheckSelection(dptest.SelectionKit{New: toySelection(row[0]), Samples: 6000})
		}})
	}
	return builds
}

// audits are mechanisms of which only runs are seen.
func audits() []dptest.Sabotage {
	run := func(name, source string, claim dp.Budget, samples int, mechanism func(v float64, r *rand.Rand) float64) dptest.Sabotage {
		return dptest.Sabotage{Name: "runs: " + name, Source: source, Check: func() error {
			_, err := dptest.CheckAudit(dptest.AuditKit[float64]{Claim: claim, Samples: samples, Run: oneOf(func(v float64, random io.Reader) float64 {
				return mechanism(v, rand.New(random.(rand.Source)))
			})})
			return err
		}}
	}
	laplace := func(b float64, r *rand.Rand) float64 { return laplaceOf(b)(r) }
	pure := dp.Budget{Epsilon: 1}
	return []dptest.Sabotage{
		run("Laplace at 1.1 × its claim", "the power that is stated", pure, 65_000, func(v float64, r *rand.Rand) float64 { return v + laplace(1/1.1, r) }),
		run("noise at the input's ulp", "Mironov 2012; Haney et al. 2022, Precision-based Attacks", pure, 20_000, func(v float64, r *rand.Rand) float64 { return v + laplace(1, r) }),
		run("σ² taken as σ", "known bugs", dp.Budget{Epsilon: 1, Delta: 0.01}, 20_000, func(v float64, r *rand.Rand) float64 { return v + math.Sqrt(gaussianSigma(1, 0.01))*r.NormFloat64() }),
		run("Gaussian noise under a pure claim", "known bugs", pure, 20_000, func(v float64, r *rand.Rand) float64 { return v + r.NormFloat64() }),
		run("the best of ten answers", "report-noisy-max with its noise", pure, 20_000, func(v float64, r *rand.Rand) float64 {
			best := math.Inf(-1)
			for range 10 {
				best = max(best, v+laplace(1, r))
			}
			return math.Round(best*4) / 4
		}),
		run("the truth in the sign of a zero", "math.Round and math.Copysign keep it, and so does JSON", pure, 20_000, func(v float64, r *rand.Rand) float64 {
			return math.Copysign(max(0, math.Round(laplace(9, r))), v-0.5)
		}),
		run("noise on a lattice of 1000, the value between", "a granularity that only the noise is rounded to", pure, 20_000, func(v float64, r *rand.Rand) float64 {
			return v + 1000*math.Round(laplace(1e4, r))
		}),
		run("a constant", "a mechanism that is not run", pure, 20_000, func(float64, *rand.Rand) float64 { return 7 }),
		run("NaN", "a mechanism that failed", pure, 20_000, func(v float64, r *rand.Rand) float64 { return math.Log(laplace(1, r)) }),
	}
}

// intervals claim 0.95 for Laplace noise of scale 10.
func intervals() (builds []dptest.Sabotage) {
	const b = 10.0
	for _, row := range []struct {
		name string
		half float64
	}{
		{"the quantile of one side", b * math.Log(10)},
		{"the quantile of a normal law", 1.96 * b},
		{"the deviation of one of two terms", b * math.Log(20) / math.Sqrt2},
		{"NaN", math.NaN()},
		{"infinite", math.Inf(1)},
	} {
		builds = append(builds, dptest.Sabotage{Name: "interval: " + row.name, Source: "known bugs", Check: func() error {
			return dptest.CheckIntervals(dptest.IntervalKit{Confidence: 0.95, Run: func(random io.Reader) (truth, estimate, half float64, err error) {
				var w [16]byte
				_, err = io.ReadFull(random, w[:])
				r := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(w[:]), binary.LittleEndian.Uint64(w[8:])))
				return 5, 5 + laplaceOf(b)(r), row.half, err
			}})
		}})
	}
	return append(builds, dptest.Sabotage{Name: "interval: only what is significant is shown", Source: "the winner's curse", Check: func() error {
		return dptest.CheckIntervals(dptest.IntervalKit{Confidence: 0.95, Run: func(random io.Reader) (truth, estimate, half float64, err error) {
			r, half := rand.New(random.(rand.Source)), b*math.Log(20)
			for estimate < half {
				estimate = 5 + laplaceOf(b)(r)
			}
			return 5, estimate, half, nil
		}})
	}})
}
