// Package secrets finds secrets in what was printed, for the tests that hold that nothing
// prints them.
package secrets

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Find returns the form in which text holds four bytes in a row of secret, or "".
func Find(text string, secret []byte) string {
	compact := strings.NewReplacer(" ", "", "\n", "", "\t", "", "0x", "", ",", "").Replace(strings.ToLower(text))
	words := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }), " ")
	for i := 0; i+4 <= len(secret); i++ {
		part := secret[i : i+4]
		if strings.Contains(text, string(part)) {
			return "raw"
		}
		if strings.Contains(compact, hex.EncodeToString(part)) {
			return "hexadecimal"
		}
		if decimal := fmt.Sprint(part); strings.Contains(words, decimal[1:len(decimal)-1]) {
			return "decimal"
		}
	}
	for shift := range 3 { // base64 of the secret at each of the three alignments
		for i := shift; i+6 <= len(secret); i += 3 {
			if strings.Contains(text, base64.StdEncoding.EncodeToString(secret[i:i+6])) {
				return "base64"
			}
		}
	}
	return ""
}
