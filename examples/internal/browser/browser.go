// Package browser opens pages in a real browser, for the tests of the examples' pages.
package browser

import (
	"context"
	"os"
	"os/exec"
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
)

// A Window is one that hears what its pages say and load.
type Window struct {
	ctx context.Context

	mu             sync.Mutex
	said, requests []string
}

// Open opens a window for a minute at most. It skips t where there is no browser, unless
// LARDER_BROWSER is set.
func Open(t *testing.T) *Window {
	t.Helper()
	path := chromium(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-background-networking", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(45*time.Second))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	w := &Window{}
	w.ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Listen(w.ctx, w.hear))
	_, err := chromedp.Call(w.ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	return w
}

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

func (w *Window) hear(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.said = append(w.said, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		w.said = append(w.said, string(e.Type))
	case *log.EventEntryAdded: // such as what the content security policy blocked
		w.said = append(w.said, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "data:") {
			w.requests = append(w.requests, e.Request.URL)
		}
	}
}

// Show loads a page at a width and waits until the element is visible.
func (w *Window) Show(t *testing.T, page string, width int64, element string) {
	t.Helper()
	require.NoError(t, chromedp.Do(w.ctx, chromedp.EmulateViewport(width, 900), chromedp.Navigate(page), chromedp.WaitVisible(element)))
}

// In evaluates JavaScript in the page that is shown.
func In[T any](t *testing.T, w *Window, script string) T {
	t.Helper()
	v, err := chromedp.Run(w.ctx, chromedp.Evaluate[T](script))
	require.NoError(t, err)
	return v
}

// Loaded checks that the pages said nothing and loaded nothing but themselves.
func (w *Window) Loaded(t *testing.T, pages ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Empty(t, w.said, "console")
	assert.Equal(t, pages, w.requests, "the page loads nothing but itself")
}
