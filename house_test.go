// Package larder_test holds the rules of the house: which package may import
// which, where effects may come in, what is documented, and that README says
// what is true.
//
// The rules read the files in this process: "go list" in a subprocess would let
// "go test" answer from its cache.
package larder_test

import (
	"debug/buildinfo"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/larder-dp/larder"

// mayImport is the import direction: for every package of the library the
// packages of ours that its code may import. A package X/internal/Y may import
// what X may.
var mayImport = map[string][]string{
	"dp":                {},
	"pseudonym":         {},
	"pseudonym/oprf":    {"pseudonym"},
	"federated/secagg":  {},
	"federated":         {"federated/secagg", "dp"},
	"dp/ledger":         {"dp"},
	"dp/dptest":         {"dp"},
	"federated/source":  {"federated", "federated/secagg", "dp"},
	"federated/fedhttp": {"federated", "federated/secagg", "dp"},
	"federated/fednats": {"federated", "federated/secagg", "dp"},
	"federated/fedtest": {"federated", "federated/secagg", "dp", "dp/dptest"},
	"examples":          {"federated/source", "federated/fedhttp", "dp/ledger", "pseudonym", "pseudonym/oprf", "federated", "federated/secagg", "dp"},
}

// The core takes its effects through interfaces, so that a round can be replayed.
var (
	core       = []string{"dp", "pseudonym", "pseudonym/oprf", "federated", "federated/secagg"}
	notInCore  = []string{"os", "net", "net/http", "database/sql", "math/rand", "math/rand/v2"}
	notInLib   = []string{"github.com/stretchr/testify", "testing", "log", "expvar"}
	clockFuncs = []string{"Now", "Since", "Until", "NewTimer", "After", "AfterFunc", "NewTicker", "Tick", "Sleep"}
)

// linked is all that a program may link for importing federated.
var linked = []string{
	module,
	"github.com/google/differential-privacy/go/v3",
	"github.com/golang/glog",
	"gonum.org/v1/gonum",
	"golang.org/x/sync",
}

func TestHouse(t *testing.T) {
	tree := load(t, os.DirFS("."))
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			for _, finding := range rule(tree) {
				t.Error(finding)
			}
		})
	}
}

var rules = map[string]func(*tree) []string{
	"imports":  imports,
	"effects":  effects,
	"tests":    testHabits,
	"docs":     docs,
	"size":     size,
	"words":    words,
	"layout":   layout,
	"snippets": snippets,
	"links":    links,
	"skips":    skips,
}

// A tree is the repository without what .gitignore names.
type tree struct {
	fset  *token.FileSet
	text  map[string]string // path → content, of every text file
	files []*file           // of Go
}

type file struct {
	*ast.File
	path, dir string
	test      bool
	imports   map[string]string // import path → name in this file
}

func load(t *testing.T, fsys fs.FS) *tree {
	ignored, _ := fs.ReadFile(fsys, ".gitignore")
	out := &tree{fset: token.NewFileSet(), text: map[string]string{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == ".git" || slices.Contains(strings.Fields(string(ignored)), "/"+name+"/") {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || slices.Contains(strings.Fields(string(ignored)), "/"+name) {
			return nil
		}
		b, err := fs.ReadFile(fsys, name)
		if err != nil || !utf8.Valid(b) {
			return err
		}
		out.text[name] = string(b)
		if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") {
			return nil
		}
		f, err := parser.ParseFile(out.fset, name, b, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		g := &file{File: f, path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), imports: map[string]string{}}
		for _, i := range f.Imports {
			p := strings.Trim(i.Path.Value, `"`)
			g.imports[p] = path.Base(p)
			if i.Name != nil {
				g.imports[p] = i.Name.Name
			}
		}
		out.files = append(out.files, g)
		return nil
	})
	require.NoError(t, err)
	return out
}

func (tr *tree) at(n ast.Node) string { return tr.fset.Position(n.Pos()).String() }

// house is the package whose rules hold for dir: an internal package obeys the
// rules of its house, and all examples are one house.
func house(dir string) string {
	if dir == "examples" || strings.HasPrefix(dir, "examples/") {
		return "examples"
	}
	dir, _, _ = strings.Cut(dir+"/", "/internal/")
	return strings.TrimSuffix(dir, "/")
}

func (f *file) library() bool {
	return under(f.dir, "dp") || under(f.dir, "pseudonym") || under(f.dir, "federated")
}

// A kit is for tests of others: package xxxtest beside its parent.
func (f *file) kit() bool { return strings.HasSuffix(f.dir, "test") }

func (f *file) core() bool { return slices.Contains(core, house(f.dir)) }

func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// imports holds the import direction and the bans. An external test (package
// x_test) is an importer like any other, so the direction does not bind it.
func imports(tr *tree) (findings []string) {
	for _, f := range tr.files {
		ours, known := mayImport[house(f.dir)]
		if !known && f.library() && !f.test {
			findings = append(findings, fmt.Sprintf("%s: package %s has no row in mayImport", f.path, f.dir))
			continue
		}
		for p := range f.imports {
			bad := func(why string) { findings = append(findings, fmt.Sprintf("%s imports %s: %s", f.path, p, why)) }
			if f.library() && !f.test && !f.kit() && slices.ContainsFunc(notInLib, func(b string) bool { return under(p, b) && p != "log/slog" }) {
				bad("the library does not")
			}
			if f.kit() && under(p, notInLib[0]) {
				bad("a kit takes a testing.TB and no more")
			}
			if f.core() && !f.test && (slices.Contains(notInCore, p) || under(p, "os")) {
				bad("the core takes its effects through interfaces")
			}
			to, isOurs := strings.CutPrefix(p, module+"/")
			external := f.test && strings.HasSuffix(f.Name.Name, "_test")
			if !isOurs || !known || external || house(to) == house(f.dir) || slices.Contains(ours, house(to)) {
				continue
			}
			if f.test && strings.HasSuffix(to, "test") {
				continue // a kit, in a test
			}
			bad("against the import direction")
		}
	}
	return findings
}

// effects lets the clock and the system's randomness into one file each of a
// core package.
func effects(tr *tree) (findings []string) {
	clock, random := map[string][]string{}, map[string][]string{}
	for _, f := range tr.files {
		if !f.library() || f.test {
			continue
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
				findings = append(findings, tr.at(d)+": the library has no init functions")
			}
		}
		if !f.core() {
			continue
		}
		if _, ok := f.imports["crypto/rand"]; ok {
			random[f.dir] = append(random[f.dir], f.path)
		}
		if slices.ContainsFunc(clockFuncs, func(name string) bool { return len(f.uses("time", name)) > 0 }) {
			clock[f.dir] = append(clock[f.dir], f.path)
		}
	}
	for what, where := range map[string]map[string][]string{"the clock": clock, "crypto/rand": random} {
		for dir, paths := range where {
			if len(paths) > 1 {
				findings = append(findings, fmt.Sprintf("package %s uses %s in %v: keep it in one file", dir, what, paths))
			}
		}
	}
	return findings
}

// uses returns where f names pkg.name.
func (f *file) uses(pkg, name string) (at []ast.Node) {
	local, ok := f.imports[pkg]
	if !ok {
		return nil
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == name {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
				at = append(at, s)
			}
		}
		return true
	})
	return at
}

// testHabits: a test that waits by the clock is slow or flaky (testing/synctest
// is neither), and one that skips says what would make it run.
func testHabits(tr *tree) (findings []string) {
	for _, f := range tr.files {
		if !f.test && !f.kit() {
			continue
		}
		for _, n := range f.uses("time", "Sleep") {
			findings = append(findings, tr.at(n)+": no time.Sleep in tests: take testing/synctest, or wait for the event")
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			s, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) {
				return true
			}
			if x, ok := s.X.(*ast.Ident); !ok || !slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
				return true
			}
			says := slices.ContainsFunc(call.Args, func(a ast.Expr) bool {
				lit, ok := a.(*ast.BasicLit)
				return ok && (strings.Contains(lit.Value, "LARDER_") || strings.Contains(lit.Value, "short"))
			})
			if !says {
				findings = append(findings, tr.at(n)+": a skip names the LARDER_ variable, or -short, that makes the test run")
			}
			return true
		})
	}
	return findings
}

// Methods that are what their interface says they are.
var selfEvident = []string{"Error", "Unwrap", "Is", "As", "String", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"}

// docs: every package says what it is, and every exported name of the library
// has a comment that begins with it.
func docs(tr *tree) (findings []string) {
	documented := map[string]bool{}
	for _, f := range tr.files {
		if f.test && f.dir != "." { // the root has tests only
			continue
		}
		documented[f.dir] = documented[f.dir] || f.Doc.Text() != ""
		if !f.library() {
			continue
		}
		want := func(n *ast.Ident, ok bool) {
			if n.IsExported() && !ok {
				findings = append(findings, fmt.Sprintf("%s: %s needs a comment that names it", tr.at(n), n.Name))
			}
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if r := receiver(d); r == "" || ast.IsExported(r) && !slices.Contains(selfEvident, d.Name.Name) {
					want(d.Name, strings.HasPrefix(d.Doc.Text(), d.Name.Name+" "))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						doc := strings.Fields(d.Doc.Text() + s.Doc.Text() + s.Comment.Text())
						want(s.Name, slices.Contains(doc[:min(3, len(doc))], s.Name.Name))
					case *ast.ValueSpec:
						for _, n := range s.Names {
							want(n, d.Doc.Text()+s.Doc.Text()+s.Comment.Text() != "")
						}
					}
				}
			}
		}
	}
	for dir, ok := range documented {
		if !ok {
			findings = append(findings, fmt.Sprintf("package %s has no package doc", dir))
		}
	}
	return findings
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	name := ""
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if i, ok := n.(*ast.Ident); ok && name == "" {
			name = i.Name
		}
		return true
	})
	return name
}

// size counts the exported names of a package, methods not among them.
func size(tr *tree) (findings []string) {
	names := map[string]int{}
	count := func(dir string, n *ast.Ident) {
		if n.IsExported() {
			names[dir]++
		}
	}
	for _, f := range tr.files {
		if !f.library() || f.test || strings.Contains(f.dir+"/", "/internal/") {
			continue
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					count(f.dir, d.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						count(f.dir, s.Name)
					case *ast.ValueSpec:
						// As go doc -short counts: one for a block of constants of one type.
						for _, n := range s.Names {
							if d.Tok != token.CONST || s == d.Specs[0] {
								count(f.dir, n)
							}
						}
					}
				}
			}
		}
	}
	for dir, n := range names {
		limit := 35
		switch dir {
		case "federated":
			limit = 60
		case "dp": // noise and accounting, two things in one house
			limit = 40
		}
		if n > limit {
			findings = append(findings, fmt.Sprintf("package %s exports %d names, more than %d", dir, n, limit))
		}
	}
	return findings
}

// layout keeps the top level short.
func layout(tr *tree) (findings []string) {
	known := strings.Fields("dp pseudonym federated examples bench docs .ci go.mod go.sum house_test.go README.md CHANGELOG.md LICENSE Makefile .gitignore")
	for name := range tr.text {
		if top, _, _ := strings.Cut(name, "/"); !slices.Contains(known, top) {
			findings = append(findings, name+": the top level is fixed: find it a place below")
		}
	}
	return findings
}

// The words are put together here, so that this file does not hold them.
var (
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	foreign    = []string{
		"/wo" + "rk/", "/fa" + "rm/", "/tmp/bash" + "_jobs/",
		"clau" + "de", "anthro" + "pic", "open" + "ai", "chat" + "gpt", "copi" + "lot", "sub" + "agent",
	}
)

// words: what is not finished is on the roadmap, not in the code, and no text
// names the machine or the tools it was written with.
func words(tr *tree) (findings []string) {
	for name, text := range tr.text {
		if m := unfinished.FindString(text); m != "" && path.Ext(name) == ".go" {
			findings = append(findings, fmt.Sprintf("%s: has %q", name, m))
		}
		lower := strings.ToLower(text)
		for _, word := range foreign {
			if i := strings.Index(lower, word); i >= 0 {
				findings = append(findings, fmt.Sprintf("%s:%d: has %q", name, 1+strings.Count(lower[:i], "\n"), word))
			}
		}
	}
	return findings
}

var fence = regexp.MustCompile("(?ms)^```(\\w*)[^\n]*\n(.*?)^```")

// fences returns README's blocks of one of the languages.
func (tr *tree) fences(langs ...string) (blocks []string) {
	for _, m := range fence.FindAllStringSubmatch(tr.text["README.md"], -1) {
		if slices.Contains(langs, m[1]) {
			blocks = append(blocks, m[2])
		}
	}
	return blocks
}

// goCommands returns the lines of README's shell blocks that begin with prefix.
func (tr *tree) goCommands(prefix string) (lines []string) {
	for line := range strings.Lines(strings.Join(tr.fences("sh", "bash", "console"), "")) {
		if strings.HasPrefix(line, prefix+" ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// snippets: README's Go is somewhere in a file that is compiled, and its go
// commands are ones that run: .ci/run takes "go run" and "go test" from README,
// and TestConsumer "go mod edit".
func snippets(tr *tree) (findings []string) {
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, block := range tr.fences("go") {
		if !slices.ContainsFunc(tr.files, func(f *file) bool { return strings.Contains(squeeze(tr.text[f.path]), squeeze(block)) }) {
			first, _, _ := strings.Cut(block, "\n")
			findings = append(findings, fmt.Sprintf("README.md: the block that begins with %q is in no compiled file", first))
		}
	}
	for _, line := range tr.goCommands("go") {
		if !slices.ContainsFunc([]string{"go run ", "go test ", "go mod edit "}, func(p string) bool { return strings.HasPrefix(line, p) }) {
			findings = append(findings, fmt.Sprintf("README.md: no check runs %q", line))
		}
	}
	for _, want := range []string{"go run", "go test", "go mod edit"} {
		if len(tr.goCommands(want)) == 0 {
			findings = append(findings, fmt.Sprintf("README.md: has no %q in a shell block", want))
		}
	}
	return findings
}

var link = regexp.MustCompile(`\]\(([^)\s#]+)[^)]*\)`)

// links: a link to a file of the repository leads there.
func links(tr *tree) (findings []string) {
	for name, text := range tr.text {
		if path.Ext(name) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			to := path.Join(path.Dir(name), m[1])
			if strings.Contains(m[1], ":") || m[1] == "" {
				continue
			}
			found := false
			for p := range tr.text {
				found = found || under(p, to)
			}
			if _, err := os.Stat(to); err != nil && !found { // pictures are not in text
				findings = append(findings, fmt.Sprintf("%s: the link to %s leads nowhere", name, m[1]))
			}
		}
	}
	return findings
}

// skips: a line of .ci/allowed-skips names a test that exists.
func skips(tr *tree) (findings []string) {
	for line := range strings.Lines(tr.text[".ci/allowed-skips"]) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0][0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(f[1], "/")
		if !slices.ContainsFunc(tr.files, func(g *file) bool {
			return g.test && path.Join(module, g.dir) == f[0] && strings.Contains(tr.text[g.path], "\nfunc "+name+"(")
		}) {
			findings = append(findings, fmt.Sprintf(".ci/allowed-skips: there is no %s in %s", f[1], f[0]))
		}
	}
	return findings
}

// TestRulesBite breaks each rule once.
func TestRulesBite(t *testing.T) {
	const good = "// Package p is.\npackage p\n"
	for _, row := range []struct{ rule, path, text, want string }{
		{"imports", "dp/a.go", good + `import _ "` + module + `/federated"`, "against the import direction"},
		{"imports", "dp/internal/x/a.go", good + `import _ "` + module + `/federated"`, "against the import direction"},
		{"imports", "federated/a.go", good + `import _ "` + module + `/pseudonym"`, "against the import direction"},
		{"imports", "federated/a_test.go", good + `import _ "` + module + `/pseudonym"`, "against the import direction"},
		{"imports", "federated/source/a.go", good + `import _ "` + module + `/federated/fedhttp"`, "against the import direction"},
		{"imports", "federated/a.go", good + `import _ "` + module + `/federated/fedtest"`, "against the import direction"},
		{"imports", "examples/x/a.go", good + `import _ "` + module + `/dp/dptest"`, "against the import direction"},
		{"imports", "dp/other/a.go", good, "no row in mayImport"},
		{"imports", "federated/secagg/a.go", good + `import _ "math/rand/v2"`, "through interfaces"},
		{"imports", "pseudonym/a.go", good + `import _ "os/exec"`, "through interfaces"},
		{"imports", "dp/ledger/a.go", good + `import _ "log"`, "the library does not"},
		{"imports", "dp/ledger/a.go", good + `import _ "testing/fstest"`, "the library does not"},
		{"imports", "dp/dptest/a.go", good + `import _ "github.com/stretchr/testify/assert"`, "a kit takes"},
		{"effects", "dp/a.go", good + `func init() {}`, "no init"},
		{"effects", "dp/a.go", good + `import clock "time"; var x = clock.Now`, "the clock"},
		{"effects", "dp/a.go", good + `import _ "crypto/rand"`, "crypto/rand"},
		{"tests", "examples/a_test.go", good + `import "time"; func f() { time.Sleep(1) }`, "no time.Sleep"},
		{"tests", "dp/a_test.go", good + `func f() { t.Skip("not today") }`, "a skip names"},
		{"tests", "dp/a_test.go", good + `func f() { t.SkipNow() }`, "a skip names"},
		{"docs", "examples/x/main.go", "package main\n", "no package doc"},
		{"docs", "dp/a.go", good + "// Does it.\nfunc F() {}", "F needs a comment"},
		{"docs", "dp/a.go", good + "type T int // T is.\n\nfunc (*T) M() {}", "M needs a comment"},
		{"docs", "dp/a.go", good + "type T int", "T needs a comment"},
		{"docs", "dp/a.go", good + "const (\n A = 1 // A is.\n B = 2)", "B needs a comment"},
		{"size", "pseudonym/a.go", "// Package pseudonym is.\npackage pseudonym\n" + "var A" + strings.Repeat(", A", 35) + " int", "exports 36 names"},
		{"size", "federated/a.go", good + "var A" + strings.Repeat(", A", 60) + " int", "exports 61 names"},
		{"layout", "utils/a.go", good, "the top level is fixed"},
		{"words", "dp/a.go", good + "// TO" + "DO: more", "has"},
		{"words", "docs/a.md", "see /wo" + "rk/main", "has"},
		{"words", "docs/a.md", "by Copi" + "lot", "has"},
		{"snippets", "README.md", "```go\nx := 1\n```\n", "in no compiled file"},
		{"snippets", "README.md", "```sh\ngo generate ./...\n```\n", "no check runs"},
		{"snippets", "README.md", "", `no "go test"`},
		{"links", "docs/a.md", "[b](b.md#c)", "leads nowhere"},
		{"skips", ".ci/allowed-skips", "# why\n" + module + "/dp TestGone/sub slow", "there is no TestGone/sub"},
	} {
		t.Run(row.rule+" "+row.want, func(t *testing.T) {
			fsys := fstest.MapFS{
				// So that one more use of each is one too many.
				"dp/clock.go": {Data: []byte(good + `import ("time"; "crypto/rand"); var x, y = time.Now, rand.Reader`)},
				row.path:      {Data: []byte(row.text)},
			}
			assert.Contains(t, strings.Join(rules[row.rule](load(t, fsys)), "\n"), row.want)
		})
	}
}

// TestConsumer builds a program that imports only federated, the way README
// says, and holds what it links. It runs the go command, whose reads "go test"
// does not see: .ci/run runs it with -count=1.
func TestConsumer(t *testing.T) {
	root, err := os.Getwd()
	require.NoError(t, err)
	// README's replace says ../larder.
	dir := filepath.Join(t.TempDir(), "shop")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.Symlink(root, filepath.Join(filepath.Dir(dir), "larder")))
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	for name, text := range map[string]string{
		"go.mod": "module example.com/shop\n\ngo 1.26.0\n",
		"go.sum": string(sums), // so that nothing is looked up
		"main.go": `package main

import (
	"fmt"

	"` + module + `/federated"
)

func main() { fmt.Println(federated.NodeID("shop")) }
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	run := func(line ...string) {
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", line, out)
	}
	edits := load(t, os.DirFS(".")).goCommands("go mod edit")
	require.NotEmpty(t, edits, "README does not say how to import the library before it is published")
	for _, line := range edits {
		run(strings.Fields(line)...)
	}
	run("go", "build", "-o", "shop", ".")

	info, err := buildinfo.ReadFile(filepath.Join(dir, "shop"))
	require.NoError(t, err)
	var deps []string
	for _, d := range info.Deps {
		deps = append(deps, d.Path)
	}
	assert.Contains(t, deps, module)
	assert.Subset(t, linked, deps)
}
