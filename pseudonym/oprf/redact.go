package oprf

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// hidden is what every Key, Server, Client and Batch prints as, a zero one too.
const hidden = "oprf(redacted)"

// redacted makes the type that embeds it print nothing of what it holds.
type redacted struct{}

func (redacted) String() string               { return hidden }
func (redacted) GoString() string             { return hidden }
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (redacted) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (redacted) LogValue() slog.Value         { return slog.StringValue(hidden) }

// Format writes the same whatever the verb and flags.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// GobEncode refuses: gob is for storing, and a redacted key that is stored is a
// lost one.
func (redacted) GobEncode() ([]byte, error) {
	return nil, errors.New("encode oprf: gob is not for secrets: store what Key.Export returns in a secret store")
}
