// Package pseudonym turns member ids into keyed pseudonyms, so that records of
// one member can be counted together without the id.
//
// A pseudonym is 16 bytes: a pseudorandom function (AES-CMAC with a 256-bit key,
// from Tink) of the canonical id, a purpose and an epoch:
//
//	keys, err := pseudonym.Generate()       // once, then keep keys.Export() in a secret store
//	keys, err := pseudonym.Parse(keyset)    // at every later start
//	member := keys.Scope("demand", "2026-W14")
//	p, err := member("Ada@Example.com")     // [16]byte; errors.Is(err, ErrMalformed): a bad id
//
// Rotating happens only between epochs: a new key, like a new epoch, gives every
// member a new pseudonym, so that a change inside an epoch would make two
// members of each one and let her contribute twice.
//
// # The promise
//
// Whoever does not hold the key learns from the pseudonyms of one scope, a
// (purpose, epoch) pair, which of them are equal, and nothing else. Pseudonyms
// of two scopes cannot be linked: they look like independent random strings.
// More exactly, telling them from random strings means telling AES from a random
// permutation, but for a chance of (5m²+1)q²/2¹²⁸ with q ids of at most m blocks
// (Iwata and Kurosawa, "OMAC: One-Key CBC MAC", 2003): m is at most 33 here, so
// below 2⁻⁵⁰ for q = 2³² ids over all scopes. Two members share a pseudonym with a
// chance below 2⁻⁶⁴ among 2³².
//
// # What it does not protect against
//
// Pseudonyms are not anonymous. They are personal data for whoever holds the key,
// and often for others:
//
//	who holds                      | can learn from pseudonyms
//	-------------------------------+--------------------------------------------------
//	one scope, no key              | which are equal, how often each occurs; a name, where
//	                               | the records beside it give it away (a rare basket)
//	two scopes, no key             | the same of each; no link by pseudonym, but perhaps
//	                               | by what is stored beside it (same hour, same basket)
//	the key, and a list of ids     | whose each one is: it computes the pseudonym of every
//	                               | guess. Ids are few (birthdays, phone numbers), so
//	                               | assume that all are named, in every scope and epoch
//	an old key                     | the same for every epoch it served, for ever: destroy
//	                               | it with the last data that it covers
//	a corrupt store                | all of the above, as each store holds the key to count
//	                               | its own members: so never send it others' pseudonyms
//
// A corrupt store can also make up members, or give one member two ids. So can a
// member: two ids are two pseudonyms, and each has a privacy unit's bounds. Nothing
// here says that an id is real. Equality and frequency inside a scope are kept on
// purpose: they are what bounding contributions needs.
//
// A lost key cannot be replaced: the pseudonyms that it made cannot be made again.
// The time a call takes depends on the id's length and on whether it is ASCII.
//
// # Keys
//
// A [Keys] is a Tink keyset whose keys are all AES-CMAC PRF keys of 32 bytes. The
// primary key makes every pseudonym; other keys in the keyset are carried along
// and not used. Use a keyset for nothing but this package: another program that
// computes the same PRF of chosen inputs would be an oracle for pseudonyms.
//
// To rotate, generate a new keyset for the next epoch, or make another key the
// primary with Tink's keyset.Manager, and give all stores the new keyset before
// the epoch begins.
//
// A Keys prints as a fixed text, through every verb of fmt, in slog, JSON, text and
// inside other structs; gob refuses it. [Keys.Export] is the one way out.
//
// # The format
//
// The input of the PRF, byte by byte:
//
//	offset   length   content
//	0        1        0x01: CanonicalVersion
//	1        2        p = length of the purpose in bytes, big-endian
//	3        p        purpose
//	3+p      2        e = length of the epoch in bytes, big-endian
//	5+p      e        epoch
//	5+p+e    rest     canonical id, 1 to 256 bytes
//
// Every length stands before what it measures and the id takes the rest, so two
// different (purpose, epoch, canonical id) never give the same input. A purpose and
// an epoch are 1 to 128 printable ASCII characters (0x20 to 0x7E) and count byte by
// byte: "Demand" and "demand" are two scopes.
//
// The pseudonym is the whole 16-byte AES-CMAC (RFC 4493, with AES-256 as in NIST
// SP 800-38B) of that input under the primary key.
//
// # Canonical ids
//
// [Canonical] brings the spellings of one id together. The rules of
// [CanonicalVersion] 1, in this order:
//
//  1. At most 1024 bytes, and valid UTF-8.
//  2. Refused, with a [MalformedError]: control characters (tab and line ends too:
//     one inside an id is a column split wrongly), format characters (zero-width
//     joiners, bidirectional overrides, byte order marks), line and paragraph
//     separators, private-use and unassigned characters, other characters that do
//     not show (variation selectors, fillers, the grapheme joiner), and U+FFFD, which
//     says that an earlier reader lost bytes.
//  3. Space characters (general category Zs: space, no-break space, ideographic
//     space …) are dropped at both ends; each inner run of them becomes one U+0020.
//  4. Unicode normalization form C; refused if more than 30 combining marks follow
//     one another.
//  5. Full case folding, without the Turkic rules: "ß" and "SS" become "ss", "I"
//     becomes "i", and "ı" stays: "ISIK" and "ışık" are two ids.
//  6. Normalization form C once more.
//  7. At least 1 byte, at most 256.
//
// Compatibility forms are kept apart: full-width "１２" is not "12", and "ﬀ" is "ff"
// only because case folding says so. Look-alikes of two scripts stay two ids, and so
// do "0123" and "123", "a-b" and "ab": what else an issuer calls the same id, it must
// make the same before.
//
// Canonical(Canonical(id)) = Canonical(id). The Unicode tables are those of the Go
// release (15.0 up to Go 1.26). A later table only assigns characters, and by
// Unicode's stability policies leaves the form of the earlier ones alone: two
// releases give one id the same form, or one of them refuses it.
package pseudonym
