package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/examples/internal/retail"
	"github.com/larder-dp/larder/federated"
)

// chromium finds the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("LARDER_BROWSER") == "" {
		t.Skip("no chromium: install it, and set LARDER_BROWSER to make its absence a failure")
	}
	t.Fatal("LARDER_BROWSER is set and there is no chromium")
	return ""
}

// TestReportInABrowser opens the page as a planner does.
func TestReportInABrowser(t *testing.T) {
	browser := chromium(t)
	dir := filepath.Join(t.TempDir(), "out")
	code, _, errs := start(append(small, "-out", dir, "-drop", "0.25")...)
	require.Zero(t, code, errs)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-background-networking", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(45*time.Second))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()

	page := (&url.URL{Scheme: "file", Path: filepath.Join(dir, "report.html")}).String()
	var mu sync.Mutex
	var said, requests []string
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			said = append(said, e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			said = append(said, string(e.Type))
		case *log.EventEntryAdded: // such as what the content security policy blocked
			said = append(said, e.Entry.Text)
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, "data:") {
				requests = append(requests, e.Request.URL)
			}
		}
	}))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	for _, width := range []int64{1280, 390} {
		require.NoError(t, chromedp.Do(
			ctx, chromedp.EmulateViewport(width, 900), chromedp.Navigate(page), chromedp.WaitVisible("#privacy"),
		))
		title := inPage[string](t, ctx, `document.title`)
		headings := inPage[[]string](t, ctx, `[...document.querySelectorAll("h1, h2")].filter(h => h.checkVisibility()).map(h => h.textContent)`)
		overflow := inPage[int](t, ctx, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
		bars := inPage[int](t, ctx, `[...document.querySelectorAll("[aria-labelledby=worst] rect")].filter(r => r.getBoundingClientRect().width > 0).length`)
		fields := inPage[int](t, ctx, `document.querySelectorAll(".heat td").length`)
		hatched := inPage[int](t, ctx, `document.querySelectorAll(".heat td.unsure").length`)
		assert.EqualValues(t, width, inPage[int](t, ctx, `window.innerWidth`))
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
	mu.Lock()
	defer mu.Unlock()
	assert.Empty(t, said, "console")
	assert.Equal(t, []string{page, page}, requests, "the page loads nothing but itself")
}

// inPage evaluates JavaScript.
func inPage[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	require.NoError(t, err)
	return v
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
