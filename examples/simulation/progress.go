package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A progress shows on a terminal how far the run is; the zero value is quiet.
type progress struct{ w io.Writer }

// newProgress is quiet unless w is a terminal.
func newProgress(w io.Writer) progress {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" {
			return progress{w}
		}
	}
	return progress{}
}

// start shows a bar of n steps; done takes it off the screen. Both are safe for
// concurrent use.
func (p progress) start(what string, n int) (step, done func()) {
	if p.w == nil {
		return func() {}, func() {}
	}
	bar := p.bar(what, n)
	return func() { _ = bar.Add(1) }, func() { _ = bar.Finish(); _ = bar.Clear() }
}

// read shows how many bytes of how many were read.
func (p progress) read(what string) (read func(now, total int64), done func()) {
	if p.w == nil {
		return nil, func() {}
	}
	bar := p.bar(what, 100)
	return func(now, total int64) { _ = bar.Set64(100 * now / max(total, 1)) }, func() { _ = bar.Finish(); _ = bar.Clear() }
}

// spin shows that something goes on whose length is unknown.
func (p progress) spin(what string) (done func()) {
	if p.w == nil {
		return func() {}
	}
	bar, stop := p.bar(what, -1), make(chan struct{})
	var turning sync.WaitGroup
	turning.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = bar.Add(1)
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		turning.Wait()
		_ = bar.Finish()
		_ = bar.Clear()
	}
}

func (p progress) bar(what string, n int) *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(50 * time.Millisecond),
	}
	if n > 0 {
		options = append(options, progressbar.OptionShowCount())
	}
	return progressbar.NewOptions(n, options...)
}
