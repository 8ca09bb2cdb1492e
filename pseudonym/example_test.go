package pseudonym_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/larder-dp/larder/pseudonym"
)

func Example() {
	keys, err := pseudonym.Generate()
	if err != nil {
		log.Fatal(err)
	}
	spring := keys.Scope("demand", "2026-W14")
	monday, _ := spring("Ada@Example.com")
	friday, _ := spring(" ada@example.com")
	fmt.Println("one member, one scope:", monday == friday)

	next, _ := keys.Scope("demand", "2026-W15")("Ada@Example.com")
	fmt.Println("one member, two epochs:", monday == next)

	fmt.Println(keys)
	// Output:
	// one member, one scope: true
	// one member, two epochs: false
	// pseudonym.Keys(redacted)
}

func ExampleKeys_Export() {
	keys, err := pseudonym.Generate()
	if err != nil {
		log.Fatal(err)
	}
	secret, err := keys.Export() // into a secret store, and nowhere else
	if err != nil {
		log.Fatal(err)
	}
	again, err := pseudonym.Parse(secret) // at the next start, at every store
	if err != nil {
		log.Fatal(err)
	}
	a, _ := keys.Scope("demand", "2026-W14")("ada")
	b, _ := again.Scope("demand", "2026-W14")("ada")
	fmt.Println(a == b)
	// Output: true
}

// A bad id is the record's fault, a bad scope the program's: tell them apart.
func ExampleKeys_Scope() {
	keys, err := pseudonym.Generate()
	if err != nil {
		log.Fatal(err)
	}
	_, err = keys.Scope("demand", "2026-W14")("ada\t42")
	fmt.Println(errors.Is(err, pseudonym.ErrMalformed), errors.Is(err, pseudonym.ErrScope))

	_, err = keys.Scope("demand", "")("ada")
	fmt.Println(errors.Is(err, pseudonym.ErrMalformed), errors.Is(err, pseudonym.ErrScope))
	fmt.Println(err)
	// Output:
	// true false
	// false true
	// pseudonymize member: scope is not usable: epoch: pass 1 to 128 printable ASCII characters
}

func ExampleCanonical() {
	for _, id := range []string{" ADA  Lovelace ", "Jose\u0301", "GROSS", "gro\u00df", "\uff11\uff12", "a\u200dda"} {
		canonical, err := pseudonym.Canonical(id)
		fmt.Printf("%q %v\n", canonical, err)
	}
	// Output:
	// "ada lovelace" <nil>
	// "josé" <nil>
	// "gross" <nil>
	// "gross" <nil>
	// "１２" <nil>
	// "" canonicalize member id: it holds a format, invisible, private-use or unassigned character
}
