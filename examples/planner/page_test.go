package main

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/examples/internal/browser"
)

// TestPagesInABrowser opens both pages as an officer does, on a desk and on a phone.
func TestPagesInABrowser(t *testing.T) {
	w := browser.Open(t)
	season := strings.Fields("-season weeks=52 -peaks 47,51 -epsilon 1 -delta 1e-6 -weeks-per-unit 4")
	var pages []string
	for _, flags := range [][]string{nil, season} {
		dir := filepath.Join(t.TempDir(), "new", "folder")
		code, out, errs := start(append(flags, "-out", dir)...)
		require.Zero(t, code, errs)
		require.Contains(t, out, "Written: "+filepath.Join(dir, pageName))
		pages = append(pages, (&url.URL{Scheme: "file", Path: filepath.Join(dir, pageName)}).String())
	}

	want := []struct {
		headings []string
		curves   int
	}{
		{[]string{"A year of demand figures", "Line by line", "Noise against ε", "Half and twice the ε of every line", "ε at every δ", "The budget over the plan"}, 3 + 1 + 1},
		{[]string{
			"A season of 52 weeks", "The split, with independent weeks", "Independent weeks or a binary tree", "Noise of the running totals",
			"How many weeks one unit may touch", "Noise against ε", "ε at every δ", "The budget over the season",
		}, 2 + 2 + 3 + 1 + 2},
	}
	var opened []string
	for i, page := range pages {
		for _, width := range []int64{1280, 390} {
			w.Show(t, page, width, "#left")
			opened = append(opened, page)
			assert.Equal(t, want[i].headings, browser.In[[]string](t, w, `[...document.querySelectorAll("h1, h2")].filter(h => h.checkVisibility()).map(h => h.textContent)`))
			assert.LessOrEqual(t, browser.In[int](t, w, `document.documentElement.scrollWidth - document.documentElement.clientWidth`), 0, "the body scrolls sideways at %d px", width)
			assert.Equal(t, want[i].curves, browser.In[int](t, w, `[...document.querySelectorAll("figure > svg .curve")].filter(c => c.getTotalLength() > 100).length`))
			assert.Zero(t, browser.In[int](t, w, `[...document.querySelectorAll("figure > svg text")].filter(t => { const a = t.getBBox(); return a.x < 0 || a.x + a.width > 740 || a.y < 0 || a.y + a.height > 344 }).length`), "no text leaves the drawing")
			assert.Zero(t, browser.In[int](t, w, `[...document.querySelectorAll("figure > svg")].filter(s => !s.getAttribute("aria-label")).length`))
		}
	}
	w.Loaded(t, opened...)
}

// TestPageEscapes: names come from files.
func TestPageEscapes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plan.json")
	plan := `{"name": "<script>alert(1)</script>", "delta": 1e-6, "lines": [
		{"name": "</svg><img alt=x>", "event": {"mechanism": "gaussian", "scale": 10, "sensitivity": 1, "count": 3}}]}`
	require.NoError(t, os.WriteFile(file, []byte(plan), 0o644))
	code, _, errs := start("-plan", file, "-out", dir)
	require.Zero(t, code, errs)
	b, err := os.ReadFile(filepath.Join(dir, pageName))
	require.NoError(t, err)
	assert.NotContains(t, string(b), "<script")
	assert.Contains(t, string(b), "&lt;script&gt;")
	assert.NotContains(t, string(b), "<img")
	assert.NotRegexp(t, regexp.MustCompile(`(?i)(src|href)="?https?:|url\(`), string(b), "nothing from elsewhere")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "the plan and the page, and nothing left over")
}

func TestTicks(t *testing.T) {
	for _, row := range []struct {
		values []float64
		log    bool
		want   string
	}{
		{[]float64{0, 10}, false, "0 2 4 6 8 10"},
		{[]float64{1, 52}, false, "20 40"},
		{[]float64{0, 0.3}, false, "0 0.1 0.2 0.3"},
		{[]float64{1e-14, 0.1}, true, "1e-13 1e-11 1e-9 1e-7 1e-5 0.001 0.1"},
		{[]float64{0.9, 14}, true, "1 2 5 10"},
		{[]float64{5, 5}, false, "5 5.2 5.4 5.6 5.8 6"},
	} {
		a := axis{Log: row.log}
		a.scale(row.values)
		a.ticks(0, 100)
		var texts []string
		for _, tick := range a.Ticks {
			texts = append(texts, tick.Text)
			assert.True(t, tick.At >= 0 && tick.At <= 100)
		}
		assert.Equal(t, row.want, strings.Join(texts, " "))
	}
}
