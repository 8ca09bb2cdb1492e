package federated

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// RFM scores a privacy unit's purchases by recency, frequency and monetary value, 1 to 5
// each, by quintiles that are themselves found privately. Two steps, each charged:
//
//	grid := federated.RFM{RecencyDays: 7, FrequencySteps: 10, MonetarySteps: 4, MinDays: 2}
//	q1, err := grid.Histograms(question)       // of each value, over a public grid
//	rfm, err := grid.Cut(release1)             // post-processing: the quintiles
//	q2, err := rfm.Bins(question)              // or rfm.Scores(question): all 125 triples
//
// What counts are the sales of q.Window, of which both ends are given, at one node:
//
//	R  whole days from the last sale to the window's end: fewer score higher
//	F  distinct baskets (Record.ID) per active day, a day as the zone of Record.Time has it
//	M  the natural logarithm of what was spent, in cents
//
// Lines without a quantity or a spend above 0 do not count, nor do sales without lines that
// do, without a time or without a member.
//
// A unit adds 1 to one bin of each histogram (L0 = L1 = 3, LInf = 1) and 1 to one triple or
// bin of sums (all 1); of q.Bounds only MaxNodes is read. Under UnitMember she is scored at
// each of her homes by what she did there. q.Partitions are filled in; q.Select works as in
// any question and is what suppresses small cells.
type RFM struct {
	// RecencyDays is the width of a bin of R, in days; from 1.
	RecencyDays int `json:"recency_days"`
	// FrequencySteps is the number of bins of F from one basket a day to two; 1 to 100. From
	// 10 baskets a day all are in one bin.
	FrequencySteps int `json:"frequency_steps"`
	// MonetarySteps is the number of bins of M to a power of e; 1 to 100. M ends at 20.
	MonetarySteps int `json:"monetary_steps"`
	// MinDays drops units with fewer active days; from 1.
	MinDays int `json:"min_days"`
	// Except are items that do not count, such as gasoline; at most 1,000.
	Except []string `json:"except,omitempty"`
	// Cuts are the four cut points of R, F and M, each the first bin of a quintile, ascending:
	// Cut sets them, and only then can Bins and Scores be asked. They come from a release, so
	// they are public. Equal ones, where many units have one value, leave the scores between
	// them empty.
	Cuts *[3][4]int `json:"cuts,omitempty"`
}

// Histograms asks for the histograms of R, F and M, in one question: partitions are
// "recency 0000", "frequency 0000", "monetary 0000" and so on, numbered by bin. Cells is Chain
// unless it says otherwise.
func (m RFM) Histograms(q Question) (Query, error) {
	m.Cuts = nil
	bins, err := m.grid(q.Window)
	if err != nil {
		return Query{}, fmt.Errorf("ask %s: %w", rfmHistograms.Name, err)
	}
	q.Bounds.L0, q.Bounds.LInf, q.Bounds.L1 = 3, 1, 3
	q.Partitions = slices.Concat(rfmKeys(bins)...)
	return m.ask(rfmHistograms, q)
}

// Scores asks for the number of units with each triple of scores: partitions "111" to "555",
// in the order R, F, M.
func (m RFM) Scores(q Question) (Query, error) {
	q.Partitions = slices.Clone(rfmTriples)
	return m.askScores(q)
}

// Bins asks for the number of units by the sum of their scores, in the five bins [0,6) [6,9)
// [9,13) [13,15) [15,∞).
func (m RFM) Bins(q Question) (Query, error) {
	q.Partitions = slices.Clone(rfmSums)
	return m.askScores(q)
}

func (m RFM) askScores(q Question) (Query, error) {
	q.Bounds.L0, q.Bounds.LInf, q.Bounds.L1 = 1, 1, 1
	if m.Cuts == nil {
		return Query{}, fmt.Errorf("ask %s: Cuts are missing: RFM.Cut finds them in a release of RFM.Histograms", rfmScores.Name)
	}
	if _, err := m.grid(q.Window); err != nil {
		return Query{}, fmt.Errorf("ask %s: %w", rfmScores.Name, err)
	}
	return m.ask(rfmScores, q)
}

func (m RFM) ask(f Function, q Question) (Query, error) {
	if q.From == "" {
		q.From = Sales
	}
	if q.Cells == "" {
		q.Cells = Chain
	}
	return Custom(f.Name, f.Version, m, q)
}

// Cut returns m with the cut points of a release of m.Histograms (per-store cells
// of one bin are added up): of each value the bins at which its noised histogram, summed from below, reaches one to four
// fifths. It is post-processing and costs nothing.
func (m RFM) Cut(r *Release) (RFM, error) {
	if r == nil || r.label.Query != nameOf(rfmHistograms) {
		return RFM{}, errors.New("cut quintiles: the release is not of RFM.Histograms")
	}
	if r.cells != nil {
		return RFM{}, errors.New("cut quintiles: the release is of selected cells, which are no whole histogram: ask without Select")
	}
	bins, err := m.grid(r.label.Window)
	if err != nil {
		return RFM{}, fmt.Errorf("cut quintiles: %w", err)
	}
	counts := map[string]int64{}
	for c := range r.Cells() {
		counts[c.Partition] = clampAdd(counts[c.Partition], c.Noised)
	}
	keys, cuts := rfmKeys(bins), [3][4]int{}
	if len(r.partitions) != len(keys[0])+len(keys[1])+len(keys[2]) {
		return RFM{}, errors.New("cut quintiles: the release is of another grid")
	}
	for i := range cuts {
		if cuts[i], err = quintiles(keys[i], counts); err != nil {
			return RFM{}, fmt.Errorf("cut quintiles: %w", err)
		}
	}
	m.Cuts = &cuts
	return m, nil
}

// quintiles returns the bins below which one, two, three and four fifths lie.
func quintiles(keys []string, counts map[string]int64) (cuts [4]int, err error) {
	total := int64(0)
	for _, k := range keys {
		n, ok := counts[k]
		if !ok {
			return cuts, errors.New("the release is of another grid")
		}
		total = clampAdd(total, n)
	}
	if total < 5 {
		return cuts, errors.New("after noise there are no units to cut: ask more stores, or with a larger Epsilon")
	}
	sum, k := int64(0), 0
	for i, key := range keys {
		for sum = clampAdd(sum, counts[key]); k < 4 && float64(sum) >= float64(total)*float64(k+1)/5; k++ {
			cuts[k] = i + 1
		}
	}
	return cuts, nil
}

const (
	mostFrequency = 10 // baskets a day, beyond which all are in one bin
	mostMonetary  = 20 // ln of cents
	mostRFMBins   = 1 << 16
)

// validate checks what does not depend on the window.
func (m RFM) validate() error {
	var errs []error
	within := func(name string, v, most int) {
		if v < 1 || v > most {
			errs = append(errs, fmt.Errorf("RFM: %s is %d: give 1 to %d", name, v, most))
		}
	}
	within("RecencyDays", m.RecencyDays, mostRFMBins)
	within("FrequencySteps", m.FrequencySteps, 100)
	within("MonetarySteps", m.MonetarySteps, 100)
	within("MinDays", m.MinDays, math.MaxInt32)
	if len(m.Except) > 1000 {
		errs = append(errs, errors.New("RFM: Except has more than 1000 items"))
	}
	if m.Cuts != nil {
		for _, cut := range m.Cuts {
			if cut[0] < 0 || !slices.IsSorted(cut[:]) || cut[3] > mostRFMBins {
				errs = append(errs, errors.New("RFM: Cuts must ascend, from 0"))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// grid returns the number of bins of R, F and M.
func (m RFM) grid(w Window) (bins [3]int, err error) {
	if err := m.validate(); err != nil {
		return bins, err
	}
	if w.From.IsZero() || w.To.IsZero() || !w.From.Before(w.To) {
		return bins, errors.New("Window: give both ends, From before To")
	}
	days := int(w.To.Sub(w.From)/day) + 1
	if days/m.RecencyDays >= mostRFMBins {
		return bins, fmt.Errorf("RFM: more than %d bins of R: give a larger RecencyDays", mostRFMBins)
	}
	return [3]int{(days-1)/m.RecencyDays + 1, (mostFrequency-1)*m.FrequencySteps + 1, mostMonetary * m.MonetarySteps}, nil
}

const day = 24 * time.Hour

// place returns the bins that a tally is in, if it is scored.
func (m RFM) place(t *tally) (bins [3]int, ok bool) {
	sales, days, spend := t.n[rfmBaskets], t.n[rfmDays], t.n[rfmSpend]
	all, err := m.grid(t.window)
	if err != nil || sales < 1 || days < int64(m.MinDays) || days < 1 || spend < 1 {
		return bins, false
	}
	recency := int((t.window.To.Unix() - t.window.From.Unix() - t.n[rfmLast]) / int64(day/time.Second))
	bins = [3]int{
		recency / m.RecencyDays,
		int((sales - days) * int64(m.FrequencySteps) / days),
		int(math.Log(float64(spend)) * float64(m.MonetarySteps)),
	}
	for i := range bins {
		bins[i] = min(max(bins[i], 0), all[i]-1)
	}
	return bins, true
}

// The numbers of a tally. The last sale is in seconds from the window's begin.
const (
	rfmLast = iota
	rfmBaskets
	rfmDays
	rfmSpend
)

func (m RFM) note(r *Record, t *tally) {
	if r.Member == "" || r.ID == "" || r.Time.IsZero() || t.window.From.IsZero() {
		return
	}
	bought := false
	for i := range r.Lines {
		if l := &r.Lines[i]; l.Quantity > 0 && l.Spend > 0 && !slices.Contains(m.Except, l.Item) {
			bought = true
			t.add(rfmSpend, l.Spend)
		}
	}
	if !bought {
		return
	}
	var b [8]byte
	y, month, d := r.Time.Date()
	binary.BigEndian.PutUint64(b[:], uint64(y*512+int(month)*32+d))
	t.distinct(rfmDays, string(b[:]))
	t.distinct(rfmBaskets, r.ID)
	t.top(rfmLast, r.Time.Unix()-t.window.From.Unix())
}

func (m RFM) scores(bins [3]int) (r, f, v int) {
	score := func(bin int, cuts [4]int) int {
		n := 1
		for _, c := range cuts {
			if bin >= c {
				n++
			}
		}
		return n
	}
	return 6 - score(bins[0], m.Cuts[0]), score(bins[1], m.Cuts[1]), score(bins[2], m.Cuts[2])
}

var (
	rfmHistograms = Function{Name: "rfm_histograms", Version: 1, From: []Kind{Sales}, prepareUnit: prepareHistograms}
	rfmScores     = Function{Name: "rfm_scores", Version: 1, From: []Kind{Sales}, prepareUnit: prepareScores}
	rfmSums       = []string{"[0,6)", "[6,9)", "[9,13)", "[13,15)", "[15,∞)"}
	rfmTriples    = triples()
)

func nameOf(f Function) string { return fmt.Sprintf("%s/%d", f.Name, f.Version) }

// sumBin is the position in rfmSums of a sum of scores.
func sumBin(sum int) int {
	i, _ := slices.BinarySearch([]int{6, 9, 13, 15}, sum+1)
	return i
}

func triples() (out []string) {
	for i := range 125 {
		out = append(out, fmt.Sprintf("%d%d%d", i/25+1, i/5%5+1, i%5+1))
	}
	return out
}

func rfmKeys(bins [3]int) [][]string {
	out := make([][]string, 3)
	for i, name := range []string{"recency", "frequency", "monetary"} {
		for b := range bins[i] {
			out[i] = append(out[i], fmt.Sprintf("%s %04d", name, b))
		}
	}
	return out
}

// parseRFM reads the parameters, in the one form that encoding/json writes.
func parseRFM(params json.RawMessage) (RFM, error) {
	var m RFM
	dec := json.NewDecoder(bytes.NewReader(params))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return RFM{}, errors.New("not the parameters of an RFM")
	}
	if again, err := json.Marshal(m); err != nil || !bytes.Equal(again, params) {
		return RFM{}, errors.New("parameters of an RFM that are not in canonical form")
	}
	return m, m.validate()
}

func prepareHistograms(params json.RawMessage) (unitFunction, error) {
	m, err := parseRFM(params)
	if err != nil {
		return unitFunction{}, err
	}
	var keys [][]string // made once the window is known
	return unitFunction{note: m.note, finish: func(t *tally, emit func(string, int64)) {
		if keys == nil {
			bins, err := m.grid(t.window)
			if err != nil {
				return
			}
			keys = rfmKeys(bins)
		}
		if bins, ok := m.place(t); ok {
			for i, b := range bins {
				emit(keys[i][b], 1)
			}
		}
	}}, nil
}

func prepareScores(params json.RawMessage) (unitFunction, error) {
	m, err := parseRFM(params)
	if err == nil && m.Cuts == nil {
		err = errors.New("RFM: Cuts are missing")
	}
	if err != nil {
		return unitFunction{}, err
	}
	return unitFunction{note: m.note, finish: func(t *tally, emit func(string, int64)) {
		if bins, ok := m.place(t); ok {
			r, f, v := m.scores(bins)
			emit(rfmTriples[(r-1)*25+(f-1)*5+v-1], 1)
			emit(rfmSums[sumBin(r+f+v)], 1)
		}
	}}, nil
}
