package pseudonym

import (
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The package is pure: it reads no file, clock or socket, and leaves randomness to
// Tink. The files are parsed here, as `go list` would answer from the test cache.
func TestImports(t *testing.T) {
	banned := []string{"os", "net", "net/http", "database/sql", "math/rand", "math/rand/v2", "crypto/rand", "time", "unsafe", "github.com/larder-dp/"}
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	parsed := 0
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		parsed++
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			for _, b := range banned {
				assert.False(t, path == b || strings.HasSuffix(b, "/") && strings.HasPrefix(path, b), "%s imports %s", name, path)
			}
		}
	}
	assert.NotZero(t, parsed)
}
