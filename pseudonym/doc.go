// Package pseudonym turns member ids into keyed pseudonyms, so that records of
// one member can be counted together without the id.
//
// A pseudonym is 16 bytes: a pseudorandom function (AES-CMAC with a 256-bit key,
// from Tink) of the canonical id, with a key of its own for each scope, a purpose
// and an epoch:
//
//	keys, err := pseudonym.Generate("demand", "2026-W14") // once, for the chain
//	secret, err := keys.Export()            // into a secret store; or keys.Seal(kms)
//	keys, err := pseudonym.Parse(secret)    // at every start, at every store; or Open(sealed, kms)
//	member := keys.Scope("demand", "2026-W14")
//	p, err := member("Ada@Example.com")     // [16]byte; errors.Is(err, ErrMalformed): a bad id
//	err := member.Batch(dst, ids, nil)      // many at once
//
// and from epoch to epoch:
//
//	keys, err := keys.Create("demand", "2026-W15")          // Export, and Parse at every store
//	for pair, err := range keys.Migrate("demand", "2026-W14", "2026-W15", ids) { … }
//	keys, err := keys.Destroy("demand", "2026-W14")         // write it over every copy
//
// Where stores must not hold the key, package oprf makes the pseudonyms of a scope
// with the help of a key server. A chain that has such scopes lists all of its scopes
// in a [Roster], in which a purpose is keyed or oblivious, never both:
//
//	roster, err := pseudonym.Roster{}.Keyed("demand", "2026-W14") // head office
//	roster, err = roster.Oblivious("insights", "2026-W14", public)
//	text := roster.String()                                       // published
//	roster, err := pseudonym.ParseRoster(text)                    // every store
//	member := roster.Scope(keys, "demand", "2026-W14")            // refuses "insights"
//	client, err := oprf.NewClient(oprf.ClientConfig{Roster: roster, …}) // refuses "demand"
//
// # The promise
//
// Whoever does not hold the key learns from the pseudonyms of one scope which of
// them are equal, and nothing else. Pseudonyms of two scopes cannot be linked
// without both keys: they look like independent random strings, and there is no
// way back from a pseudonym to the id but to try ids. More exactly, telling the
// pseudonyms of a scope from random strings means telling AES from a random
// permutation, but for a chance of (5m²+1)q²/2¹²⁸ with q ids of at most m blocks
// (Iwata and Kurosawa, "OMAC: One-Key CBC MAC", 2003): m is at most 33 here, so
// below 2⁻⁵⁰ for q = 2³². Two members share a pseudonym with a chance below 2⁻⁶⁴
// among 2³².
//
// # What it does not protect against
//
// Pseudonyms are not anonymous. They are personal data for whoever holds the key,
// and often for others:
//
//	who holds                      | can link, and learn
//	-------------------------------+--------------------------------------------------
//	one scope, no key              | the records of each member within the scope; how
//	                               | often each occurs; a name, where the records give
//	                               | it away (a rare basket)
//	two scopes, no key             | the same in each; no link by pseudonym, but perhaps
//	                               | by what is stored beside it (same hour, same basket)
//	two scopes, one of two keys    | as the next row in one scope; no link to the other
//	a scope's key, a list of ids   | whose each pseudonym of the scope is: it computes
//	                               | that of every guess. Ids are few (10⁸ mobile
//	                               | numbers of 8 digits are a minute's work), so assume
//	                               | that all are named
//	two keys, a list of ids        | the same in both scopes, and so the link of them
//	the pairs of Migrate           | the link of these members' two epochs, without key
//	a corrupt store, keyed scope   | all that its keys give, of every store's members:
//	                               | so never send it others' pseudonyms
//	a coordinator without a key    | the first two rows; with one corrupt store that
//	                               | holds the key, all
//
// In an oblivious scope, whose key is at a key server (package oprf):
//
//	who is corrupt                 | can link, and learn
//	-------------------------------+--------------------------------------------------
//	the key server                 | which store asks when, and for how many ids it did
//	                               | not have before; no id and no pseudonym. It cannot
//	                               | mark a store or a member by another key: the
//	                               | proof fails. It can refuse, and let others ask more
//	a store                        | whose its own are; of others' what it guesses
//	                               | and asks for, at the rate of its limit
//	a store's table, stolen        | whose that store's are, for ever; of others nothing
//	the coordinator, an analyst    | as one scope without a key
//	coordinator and store          | the store's own members among all stores' records,
//	                               | and each guess that the store asks for
//	coordinator and key server     | all are named, by whoever has a list of ids: as
//	                               | with a scope's key
//	store and key server           | whose each pseudonym is that the store sees: give
//	                               | stores none but their own
//	who writes the roster          | no id and no pseudonym. With two rosters, under two
//	                               | keys of one key server, one member is two people at
//	                               | two stores: counted twice, and protected as two, at
//	                               | twice the loss. So compare digests, and take only a
//	                               | roster that Extends the pinned one
//
// A corrupt store can also make up members, or give one member two ids. So can a
// member: one person under two ids is two pseudonyms in every scope, which nothing
// joins; each has a privacy unit's bounds, so she is protected as two, at twice the
// loss. Nothing here says that an id is real. Equality and frequency inside a scope
// are kept on purpose: they are what bounding contributions needs.
//
// The time a call takes depends on the id's length and on whether it is ASCII.
//
// # Keys
//
// A [Keys] has one random key for each scope, independent of all others, and each
// scope gets one key only: a second one, like a new epoch, would give every member
// a second pseudonym, so that inside an epoch she could contribute twice. A key is
// enabled, disabled (it makes no pseudonyms until it is enabled again) or
// destroyed (for ever; the scope's name stays, so that it gets no other key).
//
// Destroying a key is erasure of the link: once no copy of it is left, nobody can
// say whose a pseudonym of the scope is, or which of another scope is the same
// member's. No key is derived from another, so this holds although the other epochs'
// keys live. What remains: the pseudonyms, with all that is stored under them,
// joined as before within the scope; what the records give away themselves; pairs
// and tables of pseudonyms beside ids that somebody has kept; copies of the key in
// backups, at stores, and in the memory of processes that hold a [Scope]. Sealed
// copies are gone with the master key ([Keys.Seal]). A key that is lost by mistake is
// destroyed all the same: its pseudonyms cannot be made again.
//
// Keys come from:
//
//   - [Generate] and [Keys.Create], which take Tink's template AES_CMAC_PRF;
//   - a file: os.Open, [ReadSecret], which refuses one that others can read, [Parse];
//   - an environment: Parse([]byte(os.Getenv(name)));
//   - a KMS, in Tink's interface: [Open];
//   - Tink's own tools, one keyset for a scope, encrypted or not: [Keys.Import].
//
// Use a key for nothing but this package: another program that computes the same
// PRF of chosen inputs would be an oracle for pseudonyms.
//
// A Keys prints as a fixed text, through every verb of fmt, in slog, JSON, text and
// inside other structs; gob refuses it. [Keys.Export] and [Keys.Seal] are the ways
// out.
//
// # The formats
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
// byte: "Demand" and "demand" are two purposes. [AppendScope] writes all but the id.
//
// The pseudonym is the whole 16-byte AES-CMAC (RFC 4493, with AES-256 as in NIST
// SP 800-38B) of that input under the scope's key.
//
// [Keys.Export] writes JSON on one line, which is spread here; [Parse] takes the
// fields in any order, no others, and no scope or key twice:
//
//	{"version": 1,
//	 "scopes": [
//	  {"purpose": "demand", "epoch": "2026-W15", "status": "enabled",   "keyset": {…}},
//	  {"purpose": "demand", "epoch": "2026-W14", "status": "disabled",  "keyset": {…}},
//	  {"purpose": "demand", "epoch": "2026-W13", "status": "destroyed"}
//	 ]}
//
// keyset is a cleartext Tink keyset of one enabled AES-CMAC PRF key in Tink's JSON,
// whatever the status. The same keys may be spelled differently each time: compare
// pseudonyms, not exports. [Keys.Seal] is Tink's AEAD encryption of that JSON with the
// associated data "larder pseudonym keys v1".
//
// A [Roster] is JSON with one spelling, here spread over lines:
//
//	{"version":1,
//	 "scopes":[
//	  {"purpose":"demand","epoch":"2026-W14","kind":"keyed"},
//	  {"purpose":"insights","epoch":"2026-W14","kind":"oblivious","publicKey":"…"}
//	 ]}
//
// The fields stand in this order and no others, and the scopes in the order of purpose
// and then epoch, byte by byte, none twice. publicKey is padded base64 (RFC 4648 §4) of
// 32 bytes that are not all zero, and is in an oblivious scope only; no two scopes have
// the same, and all of a purpose are of one kind. Strings hold printable ASCII, of which
// " and \ are written with a \ in front, and <, > and & as \u003c, \u003e and \u0026.
// [ParseRoster] takes space between tokens, and no other text of the same meaning;
// [Roster.Digest] is the SHA-256 of the text without any.
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
// Where an id is an e-mail address, pass it through [Email] first, and a phone number
// through [Phone]; the chain decides which column is what. Rules of version 1:
//
// Email: the rules above, then exactly one @ outside; a mailbox of at most 64
// bytes without spaces, quotes, comments, brackets or list signs and without a dot
// at an end or two in a row; a domain of two or more names of ASCII letters, digits
// and inner hyphens, the last not a number; 254 bytes at most. The mailbox is folded
// too, though RFC 5321 §2.4 lets a server tell "Ada" from "ada". Dots and "+shop" in
// the mailbox stay: whether they count is each provider's own rule, and a wrong guess
// would merge two people. An international domain is refused unless it is in its
// ASCII form, so that it has one.
//
// Phone: the rules above; then ASCII digits, with + only in front and single-byte
// signs " .-/" and pairs of brackets between them, all dropped but the +. Without a
// + the number is one of the [PhonePlan]'s country: its trunk 0 is dropped and its
// country code put in front. Refused: 00 in front, (0) after a +, an own number with
// too few or too many digits, less than 7 digits or more than 15 in all (E.164).
//
//	call        given                     canonical
//	Canonical   " ADA  Lovelace "         ada lovelace
//	Canonical   "JOSE\u0301"              josé
//	Canonical   "GROẞ"                    gross
//	Canonical   "00 42"                   00 42
//	Canonical   "ada\t42"                 refused: a control character
//	Email       " Ada.B+shop@Example.COM" ada.b+shop@example.com
//	Email       "ada@xn--bcher-kva.example" ada@xn--bcher-kva.example
//	Email       "ada@bücher.example"      refused: a domain that is not ASCII
//	Email       "ada@localhost"           refused: one name only
//	Phone 65    "9123-4567"               +6591234567
//	Phone 65    "+65 9123 4567"           +6591234567
//	Phone 65    "+44 20 7946 0018"        +442079460018
//	Phone 65    "6591234567"              refused: ten digits where the plan wants eight
//	Phone 44 0  "(020) 7946 0018"         +442079460018
//	Phone 44 0  "+44 (0)20 7946 0018"     refused: the 0 is for numbers at home
//	Phone 44 0  "0044 20 7946 0018"       refused: 00 in front
//
// Every result is its own canonical form: each of the three of its own result
// changes nothing, and Canonical of a result of the others neither. The Unicode
// tables are those of the Go release (15.0 up to Go 1.26). A later table only
// assigns characters, and by Unicode's stability policies leaves the form of the
// earlier ones alone: two releases give one id the same form, or one of them
// refuses it.
package pseudonym
