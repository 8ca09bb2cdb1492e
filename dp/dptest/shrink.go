package dptest

import (
	"math"
	"math/rand/v2"
	"reflect"
)

// Int64 draws an int64 for a World: mostly small, else from where sums, signs and
// conversions break.
func Int64(r *rand.Rand) int64 {
	switch r.IntN(8) {
	case 0:
		ends := []int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, 1 << 62, -1 << 62, 1 << 53, 1<<53 + 1, math.MaxInt32, math.MinInt32, 1 << 31}
		return ends[r.IntN(len(ends))]
	case 1:
		return int64(r.Uint64()) >> r.IntN(64)
	case 2:
		return -r.Int64N(20)
	}
	return r.Int64N(20)
}

// Float64 draws a float64 for a World: mostly small and not whole, else NaN,
// infinities, zeros of either sign, and the ends of the range.
func Float64(r *rand.Rand) float64 {
	switch r.IntN(8) {
	case 0:
		ends := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 0x1p63, -0x1p63, 0x1p53}
		return ends[r.IntN(len(ends))]
	case 1:
		return float64(r.Int64N(20)) + 0.5
	case 2:
		return -10 * r.Float64()
	}
	return 10 * r.Float64()
}

// clone copies a value with all that it points to, so that code which changes its
// input does not change the next run's. Unexported fields are shared.
func clone[T any](x T) T {
	v := reflect.New(reflect.TypeFor[T]()).Elem()
	copyInto(v, reflect.ValueOf(&x).Elem())
	return v.Interface().(T)
}

func copyInto(to, from reflect.Value) {
	to.Set(from)
	switch from.Kind() {
	case reflect.Slice:
		if !from.IsNil() {
			to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
			for i := range from.Len() {
				copyInto(to.Index(i), from.Index(i))
			}
		}
	case reflect.Array:
		for i := range from.Len() {
			copyInto(to.Index(i), from.Index(i))
		}
	case reflect.Map:
		if !from.IsNil() {
			to.Set(reflect.MakeMap(from.Type()))
			for it := from.MapRange(); it.Next(); {
				v := reflect.New(from.Type().Elem()).Elem()
				copyInto(v, it.Value())
				to.SetMapIndex(it.Key(), v)
			}
		}
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
			copyInto(to.Elem(), from.Elem())
		}
	case reflect.Struct:
		for i := range from.NumField() {
			if from.Type().Field(i).IsExported() {
				copyInto(to.Field(i), from.Field(i))
			}
		}
	}
}

// smaller offers values a step smaller than x, the boldest first, until one is
// taken. It says whether one was.
func smaller[T any](x T, take func(T) bool) bool {
	v := reflect.New(reflect.TypeFor[T]()).Elem()
	copyInto(v, reflect.ValueOf(&x).Elem())
	return shrink(v, func() bool { return take(clone(v.Interface().(T))) })
}

// shrink changes v in place to something smaller that try accepts, and restores it if
// nothing is accepted.
func shrink(v reflect.Value, try func() bool) bool {
	was := reflect.New(v.Type()).Elem()
	was.Set(v)
	offer := func(x reflect.Value) bool {
		v.Set(x)
		if try() {
			return true
		}
		v.Set(was)
		return false
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := v.Int()
		for _, x := range []int64{0, 1, n / 2, n - sign(n)} {
			if magnitude(x) < magnitude(n) && offer(reflect.ValueOf(x).Convert(v.Type())) {
				return true
			}
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		for _, x := range []uint64{0, 1, v.Uint() / 2, v.Uint() - 1} {
			if x < v.Uint() && offer(reflect.ValueOf(x).Convert(v.Type())) {
				return true
			}
		}
	case reflect.Float32, reflect.Float64:
		f := v.Float()
		for _, x := range []float64{0, 1, math.Trunc(f), math.Trunc(f / 2)} {
			if (math.Abs(x) < math.Abs(f) || math.IsNaN(f)) && offer(reflect.ValueOf(x).Convert(v.Type())) {
				return true
			}
		}
	case reflect.String:
		if n := v.Len(); n > 1 && offer(reflect.ValueOf(v.String()[:1]).Convert(v.Type())) {
			return true
		}
	case reflect.Slice:
		for i := range v.Len() {
			if offer(reflect.AppendSlice(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), was.Slice(0, i)), was.Slice(i+1, was.Len()))) {
				return true
			}
		}
		for i := range v.Len() {
			if shrink(v.Index(i), try) {
				return true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && shrink(v.Field(i), try) {
				return true
			}
		}
	case reflect.Pointer:
		return !v.IsNil() && shrink(v.Elem(), try)
	}
	return false
}

func sign(n int64) int64 {
	if n < 0 {
		return -1
	}
	return 1
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}
