package dp

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/google/differential-privacy/go/v3/noise"
)

var benchSensitivity = Sensitivity{L0: 40, L1: 20, L2Squared: 80, LInf: 4}

func benchAdd(b *testing.B, m Mechanism, n int) {
	noise, err := Calibrate(Params{Epsilon: 1, Delta: 1e-6, Mechanism: m}, benchSensitivity)
	if err != nil {
		b.Fatal(err)
	}
	values := make([]int64, n)
	for b.Loop() {
		if err := noise.Add(b.Context(), values, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/value")
}

// BenchmarkNoise is the time a value on one core, in vectors of 10⁵.
func BenchmarkNoise(b *testing.B) {
	for _, m := range []Mechanism{Laplace, Gaussian, DiscreteLaplace, DiscreteGaussian} {
		b.Run(string(m), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			benchAdd(b, m, 100_000)
		})
	}
}

// BenchmarkGooglePerValue is Google's library called as its users call it.
func BenchmarkGooglePerValue(b *testing.B) {
	for _, c := range []struct {
		mechanism Mechanism
		noise     noise.Noise
		l0, linf  int64
		delta     float64
	}{
		{Laplace, noise.Laplace(), 1, benchSensitivity.L1, 0},
		{Gaussian, noise.Gaussian(), benchSensitivity.L2Squared, 1, 1e-6},
	} {
		b.Run(string(c.mechanism), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			for b.Loop() {
				if _, err := c.noise.AddNoiseInt64(0, c.l0, c.linf, 1, c.delta); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/value")
		})
	}
}

// BenchmarkNoiseScaling is the time a value on one core and on two.
func BenchmarkNoiseScaling(b *testing.B) {
	for _, procs := range []int{1, 2} {
		b.Run(fmt.Sprint(procs), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			benchAdd(b, DiscreteGaussian, 1_000_000)
		})
	}
}
