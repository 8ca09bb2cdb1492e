package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/examples/internal/register"
)

// start runs the program.
func start(args ...string) (code int, stdout, stderr string) {
	return startContext(context.Background(), args...)
}

func startContext(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, world{&out, &errs, time.Now})
	return code, out.String(), errs.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func write(t *testing.T, path string, rows ...string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte("name,email,date_of_birth,mobile_no\n"+strings.Join(rows, "\n")+"\n"), 0o600))
	return path
}

func TestShow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, out, errs := start("-out", dir, "-rows", "500")
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	for _, want := range []string{
		"500 made-up applications", "the whole register", "mobile_no (not 8 digits", "email (not at .com or .net", "date_of_birth (under 18", "row (not CSV",
		"Members: ", "legacy ids give up one birthday", "\n   0 of ", "do with the key", "2^255", "-watch " + dir,
		// The folder was there before, and what else is in it stays.
		"    rm -r " + filepath.Join(dir, "inbox") + " " + filepath.Join(dir, "register") + " " + filepath.Join(dir, "key.json") + "\n",
	} {
		assert.Contains(t, out, want)
	}
	code, _, errs = start("-out", dir)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, "has a register already")
}

func TestBatchAndAttack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := write(t, filepath.Join(dir, "in.csv"), "Ada Vega,ada@b.com,02/03/1974,4060 1711", "Bob Lee,bob@b.info,1980-12-31,12345678")
	bad := filepath.Join(dir, "bad.csv")
	require.NoError(t, os.WriteFile(bad, []byte("x\n"), 0o600))
	out, key := filepath.Join(dir, "out"), filepath.Join(dir, "key.json")
	flags := []string{"-in", in, "-out", out, "-as-of", "2022-01-01", "-key", key}

	code, _, errs := start(flags...)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, "-new-key")
	code, _, errs = start(append(flags, "-in", filepath.Join(dir, "none.csv"), "-new-key")...)
	assert.Equal(t, exitFailed, code, errs)
	assert.NoFileExists(t, key, "no key is made for a run that cannot begin")
	code, stdout, errs := start(append(flags, "-new-key")...)
	require.Zero(t, code, errs)
	assert.Contains(t, stdout, "Members: 1, from 1 successful rows, of which 0 repeat a member.")
	was := read(t, filepath.Join(out, "successful.csv"))
	code, stdout, errs = start(append(flags, "-in", bad)...)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stdout, "was taken before: nothing to do")
	assert.Contains(t, errs, "refused: read "+bad)
	assert.Equal(t, was, read(t, filepath.Join(out, "successful.csv")))
	assert.NotContains(t, was, "legacy_id")

	for _, more := range [][]string{{"-legacy-id"}, {"-epoch", "2"}, {"-new-key"}} {
		code, _, errs = start(append(flags, more...)...)
		assert.Equal(t, exitFailed, code)
		assert.NotEmpty(t, errs)
	}

	successful := filepath.Join(out, "successful.csv")
	code, stdout, errs = start("-attack", successful)
	require.Zero(t, code, errs)
	assert.Contains(t, stdout, "no  legacy ids in the file")
	assert.Contains(t, stdout, "0 of 1  keyed pseudonyms give up the birthday without the key")
	assert.Contains(t, stdout, "give -key FILE")
	code, stdout, errs = start("-attack", successful, "-key", key)
	require.Zero(t, code, errs)
	assert.Contains(t, stdout, "1 of 1  do with the key")

	strange := filepath.Join(t.TempDir(), "key.json")
	_, err := register.CreateKeys(strange, "1")
	require.NoError(t, err)
	code, stdout, errs = start("-attack", successful, "-key", strange)
	require.Zero(t, code, errs)
	assert.Contains(t, stdout, "0 of 1  do with this key: it is not the one that made them")

	require.NoError(t, os.Chmod(key, 0o640))
	code, _, errs = start(flags...)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, "chmod 600")
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ args, want string }{
		{"x.csv", "-in FILE"},
		{"-in a.csv", "give -out"},
		{"-in a.csv -out o", "give -as-of"},
		{"-in a.csv -out o -as-of 1.1.2022", "YYYY-MM-DD"},
		{"-in a.csv -out o -as-of 2022-01-01", "give -key"},
		{"-in a.csv -out o -as-of 2022-01-01 -key o/k", "elsewhere"},
		{"-in a.csv -watch d", "give one of them"},
		{"-in a.csv -purge-after 1h", "-purge-after does not go with -in"},
		{"-attack a.csv -out o", "-out does not go with -attack"},
		{"-watch o/in -out o -as-of 2022-01-01 -key k", "places of their own"},
		{"-watch d -out o -as-of 2022-01-01 -key k -purge-after -1h", "from 0s"},
		{"-as-of 2022-01-01", "-as-of needs -in FILE or -watch DIR (see"},
		{"-settle 1s", "-settle needs -watch DIR (see"},
		{"-rows 0", "give 1 to"},
		{"-attack=", "empty"},
		{"-nonsense", "not defined"},
	} {
		code, out, errs := start(strings.Fields(row.args)...)
		assert.Equal(t, exitFlags, code, row.args)
		assert.Contains(t, errs, row.want, row.args)
		assert.Empty(t, out)
	}
	code, out, errs := start("-help")
	assert.Zero(t, code)
	assert.Empty(t, errs)
	assert.Contains(t, out, "-purge-after")
}

// What cannot be done is said before a key is made, and leaves nothing.
func TestNothingMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := write(t, filepath.Join(dir, "in.csv"), "Ada Vega,ada@b.com,02/03/1974,4060 1711")
	key, out := filepath.Join(dir, "key.json"), filepath.Join(dir, "out")
	for _, row := range []struct{ flag, file, want string }{
		{"-watch", in, "it is not a folder"},
		{"-watch", filepath.Join(dir, "none"), "no such file"},
		{"-in", filepath.Join(dir, "none"), "no such file"},
	} {
		code, _, errs := start(row.flag, row.file, "-out", out, "-as-of", "2022-01-01", "-key", key, "-new-key")
		assert.Equal(t, exitFailed, code)
		assert.Contains(t, errs, row.want)
		assert.NoFileExists(t, key)
		assert.NoDirExists(t, out)
	}
	// A key within -out by a link.
	require.NoError(t, os.Mkdir(out, 0o700))
	require.NoError(t, os.Symlink(out, filepath.Join(dir, "link")))
	code, _, errs := start("-in", in, "-out", out, "-as-of", "2022-01-01", "-key", filepath.Join(dir, "link", "key.json"), "-new-key")
	assert.Equal(t, exitFlags, code)
	assert.Contains(t, errs, "-key is within -out")
}

func TestWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inbox := filepath.Join(dir, "inbox")
	require.NoError(t, os.Mkdir(inbox, 0o700))
	write(t, filepath.Join(inbox, "in.csv"), "Ada Vega,ada@b.com,02/03/1974,4060 1711")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lines := make(chan string, 10)
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{
			"-watch", inbox, "-out", filepath.Join(dir, "out"), "-as-of", "2022-01-01",
			"-key", filepath.Join(dir, "key.json"), "-new-key", "-settle", "0s", "-purge-after", "1ns",
		}, world{tell(lines), tell(lines), time.Now})
	}()
	assert.Contains(t, <-lines, "watching")
	assert.Contains(t, <-lines, "in.csv: 1 rows, 1 successful, 1 new members")
	assert.Contains(t, <-lines, "purged in.csv")
	cancel()
	assert.Zero(t, <-ended)
	assert.NoFileExists(t, filepath.Join(inbox, "in.csv"))
}

// tell is a writer of lines.
type tell chan<- string

func (w tell) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// Canaries are put into every field of rows good and bad. None may come out in
// what the program prints, in errors, in the audit log, in reasons, or in the
// file of pseudonyms; and the key nowhere but in its file.
func TestWiretap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	canaries := []string{
		"Canaryfirst", "Canarylast", "canarymail", "19611117", "1961-11-17", "11/17/1961", "17-11-1961", "71727374", "7172 7374", "81828384", "canarybroken", "CanaryTitle", "canaryhost",
	}
	in := write(
		t, filepath.Join(dir, "in.csv"),
		"Canaryfirst Canarylast,canarymail@b.com,11/17/1961,7172 7374",
		"Canaryfirst Canarylast,canarymail@b.com,17-11-1961,71727374",
		"Canaryfirst Canarylast,canarymail@canaryhost.info,1961-11-17,81828384",
		"Canaryfirst\tCanarylast,canarymail,1961-11-17-canarybroken,canarybroken",
		`"canarybroken,Canaryfirst`,
		"Canaryfirst Canarylast"+strings.Repeat("x", 300)+",canarymail@b.com,1961-11-17,71727374",
	)
	column := filepath.Join(dir, "column.csv")
	require.NoError(t, os.WriteFile(column, []byte("name,email,date_of_birth,mobile_no,Canaryfirst\nCanaryfirst Canarylast,canarymail@b.com,11/17/1961,71727374,\n"), 0o600))
	noHeader := filepath.Join(dir, "none.csv")
	require.NoError(t, os.WriteFile(noHeader, []byte("Canaryfirst Canarylast,canarymail@b.com,1961-11-17,71727374\n"), 0o600))
	out, key := filepath.Join(dir, "out"), filepath.Join(dir, "key.json")
	victims := map[string]string{"1": "1961-11-17,canarymail@b.com,canarybroken", "2": "19611117,canarymail@b.com,canarybroken", "3": "19611117,\"canary\"mail,"}
	for name, row := range victims {
		victims[name] = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(victims[name], []byte("first_name,last_name,birthday,email,pseudonym\nCanaryfirst,Canarylast,"+row+"\n"), 0o600))
	}

	var said strings.Builder
	say := func(wantCode int, args ...string) {
		code, stdout, stderr := start(args...)
		assert.Equal(t, wantCode, code, args)
		said.WriteString(stdout + stderr)
	}
	flags := []string{"-in", in, "-out", out, "-as-of", "2022-01-01", "-key", key, "-legacy-id"}
	say(exitFailed, append(flags, "-in", noHeader, "-in", column, "-new-key")...)
	say(exitOK, flags...)
	say(exitFailed, append(flags, "-new-key")...)
	say(exitFailed, append(flags, "-epoch", "2")...)
	say(exitOK, "-attack", filepath.Join(out, "successful.csv"), "-key", key)
	for _, file := range victims {
		say(exitFailed, "-attack", file, "-key", key)
	}
	say(exitFailed, "-attack", in)
	say(exitFlags, "-in", in, "Canaryfirst")
	require.NoError(t, os.WriteFile(filepath.Join(out, "members.db"), []byte("no database: Canaryfirst"), 0o600))
	say(exitFailed, flags...)
	assert.Contains(t, said.String(), "6 ", "the summary is there")
	assert.Contains(t, read(t, filepath.Join(out, "successful.csv")), "Canaryfirst", "the canaries went through")

	reasons := ""
	rows := strings.Split(read(t, filepath.Join(out, "unsuccessful.csv")), "\n")
	for _, row := range rows[1 : len(rows)-1] {
		before, _, _ := strings.Cut(row, ",in.csv,")
		for _, column := range []string{",row: ", ",name: ", ",email: ", ",date_of_birth: ", ",mobile_no: ", ",name and email: "} {
			if i := strings.Index(before, column); i >= 0 {
				reasons += before[i:] + "\n"
				break
			}
		}
	}
	assert.Equal(t, 4, strings.Count(reasons, "\n"), reasons)
	for where, text := range map[string]string{
		"what is printed": said.String(), "the audit log": read(t, filepath.Join(out, "audit.log")),
		"pseudonyms.csv": read(t, filepath.Join(out, "pseudonyms.csv")), "reasons": reasons,
	} {
		for _, canary := range canaries {
			assert.NotContains(t, strings.ToLower(text), strings.ToLower(canary), where)
		}
	}

	assert.NotContains(t, read(t, filepath.Join(out, "audit.log")), "in.csv", "a name of a file may be a person's")

	// The key, in the spellings in which it could leak.
	secrets := []string{keyMaterial(t, key), read(t, key)}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == key {
			return err
		}
		text := read(t, path)
		for _, secret := range secrets {
			assert.NotContains(t, text, secret, path)
		}
		return nil
	})
	require.NoError(t, err)
	for _, secret := range append(secrets, hex.EncodeToString([]byte(secrets[0]))) {
		assert.NotContains(t, said.String(), secret)
	}
}

// keyMaterial is the base64 text of the key in a key file.
func keyMaterial(t *testing.T, path string) string {
	t.Helper()
	found := regexp.MustCompile(`"value" *: *"([A-Za-z0-9+/=]{40,})"`).FindStringSubmatch(read(t, path))
	require.NotNil(t, found)
	return found[1]
}
