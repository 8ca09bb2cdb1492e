package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProgressIsQuietInAPipe(t *testing.T) {
	assert.Zero(t, newProgress(&bytes.Buffer{}))
	_, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	assert.Zero(t, newProgress(w))
}

func TestProgressLeavesNothingBehind(t *testing.T) {
	var b bytes.Buffer
	p := progress{&b}
	step, done := p.start("asking", 3)
	step()
	done()
	p.spin("thinking")()
	read, done := p.read("reading")
	read(50, 200)
	done()
	assert.Contains(t, b.String(), "asking")
	assert.NotContains(t, b.String(), "\n")
}
