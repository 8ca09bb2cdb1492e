package dp

// uniform lets another package's uniform integers in behind the seed.
type uniform func(n uint64) uint64

func (u uniform) below(n uint64) uint64 { return u(n) }

// DrawDiscreteLaplace and DrawDiscreteGaussian draw at the scale r/2ʲ.
func DrawDiscreteLaplace(r uint64, j uint, below func(uint64) uint64) int64 {
	return discreteLaplace(scale{r, j}, uniform(below))
}

func DrawDiscreteGaussian(r uint64, j uint, below func(uint64) uint64) int64 {
	return discreteGaussian(scale{r, j}, uniform(below))
}

// RaceEnabled is for the external tests.
const RaceEnabled = raceEnabled
