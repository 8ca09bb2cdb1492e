package pseudonym_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/testing/fakekms"

	"github.com/larder-dp/larder/pseudonym"
)

func Example() {
	keys, err := pseudonym.Generate("demand", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	if keys, err = keys.Create("demand", "2026-W15"); err != nil {
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

// Head office publishes which scopes there are; a store follows it to the next epoch.
func ExampleRoster() {
	roster, err := pseudonym.Roster{}.Keyed("demand", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	keyServers := [32]byte{0: 0x02} // what oprf.Key.PublicKey returned there
	if roster, err = roster.Oblivious("insights", "2026-W14", keyServers); err != nil {
		log.Fatal(err)
	}
	fmt.Println(roster)

	pinned, err := pseudonym.ParseRoster([]byte(roster.String())) // at the store
	if err != nil {
		log.Fatal(err)
	}
	keys, err := pseudonym.Generate("insights", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	_, err = pinned.Scope(keys, "insights", "2026-W14")("Ada")
	fmt.Println(err)

	next, err := roster.Keyed("demand", "2026-W15") // a week later
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(next.Extends(pinned), next.Digest() == pinned.Digest())
	// Output:
	// {"version":1,"scopes":[{"purpose":"demand","epoch":"2026-W14","kind":"keyed"},{"purpose":"insights","epoch":"2026-W14","kind":"oblivious","publicKey":"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}
	// pseudonymize member: scope is not usable: the roster lists it as oblivious: its pseudonyms come from package oprf
	// <nil> false
}

func ExampleKeys_Export() {
	keys, err := pseudonym.Generate("demand", "2026-W14")
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
	keys, err := pseudonym.Generate("demand", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	_, err = keys.Scope("demand", "2026-W14")("ada\t42")
	fmt.Println(errors.Is(err, pseudonym.ErrMalformed), errors.Is(err, pseudonym.ErrScope))

	_, err = keys.Scope("demand", "2026-W15")("ada")
	fmt.Println(errors.Is(err, pseudonym.ErrMalformed), errors.Is(err, pseudonym.ErrScope))
	fmt.Println(err)
	// Output:
	// true false
	// false true
	// pseudonymize member: scope is not usable: it has no key here: Create one, or Parse the keys that have it
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

func ExampleEmail() {
	for _, address := range []string{" Ada.B+shop@Example.COM", "ada@b\u00fccher.example", "ada at example.com"} {
		canonical, err := pseudonym.Email(address)
		fmt.Printf("%q %t\n", canonical, errors.Is(err, pseudonym.ErrMalformed))
	}
	// Output:
	// "ada.b+shop@example.com" false
	// "" true
	// "" true
}

func ExamplePhone() {
	singapore := pseudonym.PhonePlan{Code: "65", MinDigits: 8, MaxDigits: 8}
	for _, number := range []string{"9123-4567", "+65 9123 4567", "+44 20 7946 0018", "6591234567"} {
		canonical, err := pseudonym.Phone(number, singapore)
		fmt.Printf("%q %v\n", canonical, err)
	}
	// Output:
	// "+6591234567" <nil>
	// "+6591234567" <nil>
	// "+442079460018" <nil>
	// "" canonicalize member id: it is a phone number with too few or too many digits
}

func ExampleScope_Batch() {
	keys, err := pseudonym.Generate("demand", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	ids := []string{"ada", "bea\t", " ADA"}
	dst := make([][16]byte, len(ids)) // once, for all batches
	err = keys.Scope("demand", "2026-W14").Batch(dst, ids, func(i int, err error) {
		fmt.Println("row", i, errors.Is(err, pseudonym.ErrMalformed), dst[i] == [16]byte{})
	})
	fmt.Println(dst[0] == dst[2], err)
	// Output:
	// row 1 true true
	// true <nil>
}

// A new epoch: what is stored under the old pseudonyms moves, and then the old key
// goes, and with it the link.
func ExampleKeys_Migrate() {
	keys, err := pseudonym.Generate("demand", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	ids := []string{"ada", "bea"}
	points := map[[16]byte]int{} // what the node has stored
	for i, id := range ids {
		p, _ := keys.Scope("demand", "2026-W14")(id)
		points[p] = 10 + i
	}

	if keys, err = keys.Create("demand", "2026-W15"); err != nil {
		log.Fatal(err)
	}
	moved := map[[16]byte]int{}
	for pair, err := range keys.Migrate("demand", "2026-W14", "2026-W15", slices.Values(ids)) {
		if errors.Is(err, pseudonym.ErrScope) {
			log.Fatal(err)
		}
		if err == nil { // else a bad id
			moved[pair.To] = points[pair.From]
		}
	}
	if keys, err = keys.Destroy("demand", "2026-W14"); err != nil {
		log.Fatal(err)
	}
	p, _ := keys.Scope("demand", "2026-W15")("bea")
	fmt.Println(moved[p])
	fmt.Println(keys.Scopes())
	// Output:
	// 11
	// [{demand 2026-W14 destroyed} {demand 2026-W15 enabled}]
}

// From a file that only its owner can read, or from an environment.
func ExampleReadSecret() {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	keys, err := pseudonym.Generate("demand", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	secret, err := keys.Export()
	if err != nil {
		log.Fatal(err)
	}
	name := filepath.Join(dir, "keys")
	if err := os.WriteFile(name, secret, 0o600); err != nil { // the mode is for a new file only
		log.Fatal(err)
	}
	read := func() error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		secret, err := pseudonym.ReadSecret(f)
		if err != nil {
			return err
		}
		keys, err = pseudonym.Parse(secret)
		return err
	}
	fmt.Println(read(), keys.Scopes())
	if err := os.Chmod(name, 0o640); err != nil {
		log.Fatal(err)
	}
	fmt.Println(read())

	fromEnvironment, err := pseudonym.Parse([]byte(os.Getenv("LARDER_KEYS")))
	fmt.Println(fromEnvironment.Scopes(), err)
	// Output:
	// <nil> [{demand 2026-W14 enabled}]
	// read secret: its mode is 0640: chmod 600, and replace the keys if others could read them
	// [] parse keys: not what Export wrote: for a Tink keyset take Import, for sealed keys Open
}

// Here the KMS is Tink's own fake; a real client, such as tink-go-awskms, gives
// the same interface.
func ExampleKeys_Seal() {
	uri, err := fakekms.NewKeyURI()
	if err != nil {
		log.Fatal(err)
	}
	kms, err := fakekms.NewAEAD(uri)
	if err != nil {
		log.Fatal(err)
	}
	master := aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), kms)

	keys, err := pseudonym.Generate("demand", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	sealed, err := keys.Seal(master)
	if err != nil {
		log.Fatal(err)
	}
	again, err := pseudonym.Open(sealed, master)
	if err != nil {
		log.Fatal(err)
	}
	a, _ := keys.Scope("demand", "2026-W14")("ada")
	b, _ := again.Scope("demand", "2026-W14")("ada")
	fmt.Println(a == b)
	// Output: true
}

// A keyset that Tink's tools made, here one that a KMS encrypts.
func ExampleKeys_Import() {
	uri, err := fakekms.NewKeyURI()
	if err != nil {
		log.Fatal(err)
	}
	kms, err := fakekms.NewAEAD(uri)
	if err != nil {
		log.Fatal(err)
	}
	handle, err := keyset.NewHandle(prf.AESCMACPRFKeyTemplate())
	if err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer // tinkey create-keyset --master-key-uri …
	if err := handle.Write(keyset.NewJSONWriter(&file), kms); err != nil {
		log.Fatal(err)
	}

	handle, err = keyset.Read(keyset.NewJSONReader(&file), kms)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := pseudonym.Keys{}.Import("demand", "2026-W14", handle)
	fmt.Println(keys.Scopes(), err)
	// Output: [{demand 2026-W14 enabled}] <nil>
}
