package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/examples/internal/browser"

	"github.com/larder-dp/larder/examples/internal/retail"
	"github.com/larder-dp/larder/federated"
)

// TestReportInABrowser opens the page as a planner does.
func TestReportInABrowser(t *testing.T) {
	w := browser.Open(t)
	dir := filepath.Join(t.TempDir(), "out")
	code, _, errs := start(append(small, "-out", dir, "-drop", "0.25")...)
	require.Zero(t, code, errs)

	page := (&url.URL{Scheme: "file", Path: filepath.Join(dir, "report.html")}).String()
	for _, width := range []int64{1280, 390} {
		w.Show(t, page, width, "#privacy")
		title := browser.In[string](t, w, `document.title`)
		headings := browser.In[[]string](t, w, `[...document.querySelectorAll("h1, h2")].filter(h => h.checkVisibility()).map(h => h.textContent)`)
		overflow := browser.In[int](t, w, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
		bars := browser.In[int](t, w, `[...document.querySelectorAll("[aria-labelledby=worst] rect")].filter(r => r.getBoundingClientRect().width > 0).length`)
		fields := browser.In[int](t, w, `document.querySelectorAll(".heat td").length`)
		hatched := browser.In[int](t, w, `document.querySelectorAll(".heat td.unsure").length`)
		assert.EqualValues(t, width, browser.In[int](t, w, `window.innerWidth`))
		assert.Equal(t, []string{
			"Stock shortages", "Twenty worst shortages", "The chain as a whole", "Stores and categories", "Members per store",
			"Coverage", "What protects the customers",
		}, headings)
		assert.Contains(t, title, "Stock shortages")
		assert.LessOrEqual(t, overflow, 0, "the body scrolls sideways at %d px", width)
		assert.Equal(t, 20, bars)
		assert.Equal(t, 3*23, fields, "stores that answered × categories")
		assert.Positive(t, hatched)
	}
	w.Loaded(t, page, page)
}

// TestReportEscapes: names come from files.
func TestReportEscapes(t *testing.T) {
	const evil = `<script>alert("x")</script>`
	o := defaults
	o.stores, o.members, o.lists, o.maxTotal = 2, 50, 50, 80
	w, err := world(t.Context(), o, progress{})
	require.NoError(t, err)
	for i := range w.Items {
		w.Items[i].Name, w.Items[i].Category = evil, evil
	}
	for i := range w.Stores {
		w.Stores[i].Name = evil
	}
	c, err := newChain(o, w)
	require.NoError(t, err)
	require.NoError(t, c.ask(t.Context(), progress{}))
	b, err := c.report()
	require.NoError(t, err)
	assert.NotContains(t, string(b), "<script")
	assert.Contains(t, string(b), "&lt;script&gt;")
	assert.NotRegexp(t, regexp.MustCompile(`(?i)(src|href)="?https?:|url\(`), string(b), "nothing from elsewhere")
}

// TestReportOfManyStores: a chain too large to read is cut to its largest part.
func TestReportOfManyStores(t *testing.T) {
	o := defaults
	o.stores, o.members, o.lists, o.maxTotal = 45, 200, 200, 80
	w, err := world(t.Context(), o, progress{})
	require.NoError(t, err)
	for i := range w.Items {
		w.Items[i].Category = fmt.Sprintf("category %d", i)
	}
	c, err := newChain(o, w)
	require.NoError(t, err)
	require.NoError(t, c.ask(t.Context(), progress{}))
	h := c.heat()
	assert.Len(t, h.Rows, mostRows)
	assert.Len(t, h.Categories, mostColumns)
	assert.Equal(t, 15, h.StoresLeft)
	assert.Equal(t, 133-mostColumns, h.Left)
	b, err := c.report()
	require.NoError(t, err)
	assert.Contains(t, string(b), "Shown are the 30 of 45 stores")
	assert.Contains(t, string(b), "15 more are in members.csv")
}

func TestCompact(t *testing.T) {
	for v, want := range map[int64]string{
		0: "0", -7: "−7", 999: "999", 1000: "1k", -1449: "−1.4k", 9_949: "9.9k", 9_950: "10k", 12_345: "12k",
		999_499: "999k", 999_500: "1M", -1_250_000: "−1.2M",
	} {
		assert.Equal(t, want, compact(v))
	}
}

func TestHeatSteps(t *testing.T) {
	for _, top := range []int64{0, 1, 3, 10, 100, 12_345, 1 << 40} {
		s := heatSteps(top)
		for i := 1; i < len(s); i++ {
			assert.Less(t, s[i-1], s[i], "of %d", top)
		}
		assert.Equal(t, "zero", heatClass(0, s, true))
		assert.Equal(t, "zero", heatClass(-s[3], s, false))
		assert.Equal(t, "l4", heatClass(-s[3], s, true))
		assert.Equal(t, "s4", heatClass(s[3], s, true))
	}
}

func TestFolder(t *testing.T) {
	for id, want := range map[federated.NodeID]string{
		"8040": "8040", ".": "%2E", "..": "%2E%2E", "a/../b": "a%2F..%2Fb", `a\b`: "a%5Cb", "S01.x": "S01.x",
	} {
		assert.Equal(t, want, folder(id))
	}
}

func TestDropIsAtLeastOneStore(t *testing.T) {
	stores := []retail.Store{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}
	assert.Empty(t, drop(stores, 0, 1))
	assert.Len(t, drop(stores, 0.01, 1), 1)
	assert.Len(t, drop(stores, 0.5, 1), 2)
	assert.Equal(t, drop(stores, 0.5, 3), drop(stores, 0.5, 3))
	seen := map[federated.NodeID]bool{}
	for seed := range uint64(40) {
		for id := range drop(stores, 0.25, seed) {
			seen[id] = true
		}
	}
	assert.Len(t, seen, 4)
}
