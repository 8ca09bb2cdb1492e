// Package oprf makes pseudonyms without their key: a store learns its own
// members' pseudonyms from a key server that learns nothing of the ids.
//
// With the keys of package pseudonym every store of a chain holds the key, and
// one that is corrupt can compute the pseudonym of any id that it guesses, for
// ever. Here the key is at a key server, which is neither the coordinator nor a
// store, and a guess costs one of the evaluations that the server counts.
//
//	store (ids, public key)                     key server (secret key)
//	────────────────────────────────────────────────────────────────────
//	batch, request = Blind(ids)
//	                       request ──────────▶
//	                                            response = Evaluate(now, store, request)
//	                     ◀────────── response
//	pseudonyms = batch.Finalize(response)
//
// At the key server, and at head office:
//
//	key, err := oprf.Generate("insights", "2026-W14")               // once for a scope
//	public, err := key.PublicKey()                                  // to head office
//	roster, err = roster.Oblivious("insights", "2026-W14", public)  // published
//	server, err := oprf.NewServer(oprf.ServerConfig{Keys: []oprf.Key{key}, …})
//	response, err := server.Evaluate(now, "store-7", request)
//
// and at every store:
//
//	client, err := oprf.NewClient(oprf.ClientConfig{Roster: roster, Purpose: "insights", Epoch: "2026-W14"})
//	table := oprf.NewTable(client)
//	err := table.Fill(ctx, ids, ask)  // ask carries a request there and the response back
//	p, err := table.Pseudonym("ada")  // federated.NodeConfig{Pseudonym: table.Pseudonym}
//
// or, for a batch that is not kept:
//
//	batch, request, err := client.Blind(ids)     // up to MaxBatch
//	pseudonyms, err := batch.Finalize(response)  // one [16]byte for each id
//
// A store asks for each member once an epoch and keeps the answers for it, in a [Table],
// in a file too ([Table.Export]). Who hands out home stores (federated.Homes) is a client
// of its own with all members. How messages travel is the caller's: over mutual TLS, for
// the server has to know who asks.
//
// # The promise
//
// The protocol is the VOPRF mode of RFC 9497 with ristretto255-SHA512, from
// github.com/cloudflare/circl.
//
//   - The key server sees random group elements, whatever the ids: not the ids, not
//     the pseudonyms, not that two requests are about one member. This holds
//     against any computing power, and also if the server lies.
//   - A store gets the value at the ids that it asked about and learns nothing of
//     the value at others, if the one-more gap Diffie–Hellman problem is hard
//     (RFC 9497 §7.2.1, which says too that the proof is for one key and without
//     batches). The best attacks known on a group of 128 bits take (log₂ q)/2 of
//     them off after q evaluations (§7.2.3): 10 for a million.
//   - Each response proves (a batched proof of equal discrete logarithms, §2.2)
//     that all of it was made with the key whose public part the store has pinned.
//     So a server cannot mark a store or a member by another key. A response that
//     fails by one bit gives no pseudonym at all.
//   - Pseudonyms of two scopes cannot be linked without both keys, as in package
//     pseudonym; and a scope is keyed or oblivious, never both: NewClient takes
//     only a scope that the chain's pseudonym.Roster lists as oblivious, and that
//     roster's Scope only one that it lists as keyed.
//
// # What it does not protect against
//
// Pseudonyms are not anonymous here either:
//
//	who                            | can learn
//	-------------------------------+--------------------------------------------------
//	the key server                 | which store asks when, for how many ids that it
//	                               | had not met before; with pseudonyms from elsewhere:
//	                               | whose each one is, for it can try every id (so it
//	                               | gets none)
//	the coordinator, an analyst    | which pseudonyms of a scope are equal; whose they
//	                               | are only by what is stored beside them
//	a corrupt store                | whose its own are; of others, what it guesses and
//	                               | asks for: IDs guesses a Window and no faster, as
//	                               | long as the key exists. 8-digit mobile numbers of
//	                               | one country last 1,000 days at 100,000 a day
//	k corrupt stores               | the same, k times as fast
//	a corrupt store and the server | all, as with a key of its own
//	whoever has the seed later     | all of the scope: destroy it with the last data
//
// Package pseudonym has the same table for several who are corrupt together.
//
// The pseudonyms that a store has already are not taken back by destroying the
// key: it keeps the table of its own members until it deletes it. A key server can
// answer one store and not another, which is as if the other had no members; the node
// of a table whose Fill failed does not start. A store can
// still make up members or give one two ids; two ids of one person are two
// pseudonyms. The time that an evaluation takes does not depend on the ids.
// Server counts in memory, so a restart forgets what clients have asked for.
//
// # Keys
//
// A [Key] is a random 32-byte seed for one scope, and the key pair that RFC 9497
// §3.2.1 derives of it, with the scope's encoding
// ([github.com/larder-dp/larder/pseudonym.AppendScope]) as info:
//
//	(secret, public) = DeriveKeyPair(seed, AppendScope(purpose, epoch))
//
// so that a seed used for two scopes by mistake still makes two keys. Seeds are
// independent: to destroy one erases one scope's link, and no other's; the roster keeps
// the scope, so that it gets no other key. A new
// epoch is a new key, and its members' pseudonyms are asked for anew; to move what
// is stored under the old ones, a store asks under both keys in the same order of
// ids, and rewrites its own records.
//
// [Key.Export] is one line of JSON, fields in any order, no other fields:
//
//	{"version":1,"purpose":"insights","epoch":"2026-W14","seed":"<base64 of 32 bytes>"}
//
// Key, Server, Client, Batch and Table print as a fixed text, through every verb of fmt, in
// slog, JSON, text and inside other structs; gob refuses them.
//
// # Randomness
//
// Blinds and proofs are made from crypto/rand, or from the reader that [ClientConfig] and
// [ServerConfig] are given: an exchange with the same ids, key and readers is the same
// byte for byte. A blind is RandomScalar by rejection sampling (RFC 9497 §4.7.1), so
// that a request says nothing of its ids whatever the server can compute. The random
// scalar of a proof is a hash of 32 random bytes, the key and the batch:
//
//	r = HashToScalar(random ‖ private key ‖ blinded elements), DST "larder oprf proof nonce v1"
//
// Two proofs with one r give the key away; here they are of the same batch even where
// the reader repeats itself, and then are the same proof. A seed is always from crypto/rand;
// write one down for Parse to have the same key again.
//
// # The messages
//
// Numbers are big-endian. Elements and scalars are the 32 bytes of RFC 9497 §4.1
// (RFC 9496 §4.3), of which a value has exactly one. Nothing follows the last field.
//
// A request:
//
//	offset   length   content
//	0        1        0x01: pseudonym.CanonicalVersion
//	1        2        p = length of the purpose in bytes, 1 to 128
//	3        p        purpose, printable ASCII
//	3+p      2        e = length of the epoch in bytes, 1 to 128
//	5+p      e        epoch, printable ASCII
//	5+p+e    2        n = number of ids, 1 to 1024
//	7+p+e    32·n     blinded elements, none of them the identity
//
// A response:
//
//	offset   length   content
//	0        1        0x01
//	1        2        n, as in the request
//	3        32·n     evaluated elements, in the request's order, none the identity
//	3+32·n   64       proof: the scalars c and s
//
// The input of the function at a member is the scope's encoding and the canonical
// id, which is the input of a keyed pseudonym too. The pseudonym is the first 16 of
// the 64 bytes of output.
//
// # The table
//
// [Table.Export] writes, for who has the ids already:
//
//	offset   length   content
//	0        5+p+e    the scope, as a request begins: version, purpose and epoch
//	5+p+e    32       public key
//	37+p+e   …        of each member, in the order of the ids' bytes, none twice:
//	                  16 bytes pseudonym,
//	                  2 bytes k = length of the id, 1 to 256,
//	                  k bytes canonical id
//	end−32   32       SHA-256 of all that is before
package oprf
