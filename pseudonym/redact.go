package pseudonym

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every Keys prints as, the zero one too.
const redacted = "pseudonym.Keys(redacted)"

// String returns a fixed text without keys.
func (Keys) String() string { return redacted }

// GoString returns a fixed text without keys.
func (Keys) GoString() string { return redacted }

// Format writes a fixed text without keys, whatever the verb and flags.
func (Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON returns a fixed text without keys.
func (Keys) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns a fixed text without keys.
func (Keys) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a fixed text without keys.
func (Keys) LogValue() slog.Value { return slog.StringValue(redacted) }

// GobEncode refuses: gob is for storing, and a redacted key that is stored is a
// lost one.
func (Keys) GobEncode() ([]byte, error) {
	return nil, errors.New("encode keyset: gob is not for keys: store what Export returns in a secret store")
}
