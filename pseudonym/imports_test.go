package pseudonym

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Both packages are pure: they read no file, clock or socket. Randomness is left to
// Tink, and in oprf it comes from one file. The files are parsed here, as `go list`
// would answer from the test cache.
func TestImports(t *testing.T) {
	always := []string{"os", "net", "net/http", "database/sql", "math/rand", "math/rand/v2", "unsafe"}
	for dir, banned := range map[string][]string{
		".":    {"crypto/rand", "time", "github.com/cloudflare/", "github.com/larder-dp/"},
		"oprf": {"github.com/tink-crypto/"},
	} {
		banned = append(banned, always...)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		parsed, random := 0, 0
		for _, entry := range entries {
			name := entry.Name()
			if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.ImportsOnly)
			require.NoError(t, err)
			parsed++
			for _, spec := range file.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				if path == "crypto/rand" {
					random++
				}
				for _, b := range banned {
					assert.False(t, path == b || strings.HasSuffix(b, "/") && strings.HasPrefix(path, b), "%s imports %s", name, path)
				}
			}
		}
		assert.NotZero(t, parsed)
		assert.LessOrEqual(t, random, 1)
	}
}
