// Package federated runs one private question over many stores, start to end:
// every node sums up its own records, bounded per privacy unit; a coordinator
// combines the sums and publishes a differentially private release. No raw
// record leaves a node.
//
//	        node (a store; raw data never leaves)           coordinator
//	records ─▶ pseudonymize ─▶ bound ─▶ aggregate ─▶ ask/report ─▶ reserve ─▶ noise ─▶ store ─▶ tell
//
// The calls that matter: NetDemand, MemberCount, Spend, DistinctMembers, RFM or Custom make a Query;
// NewNode makes a node from a store's records and its policy; NewCoordinator
// and Coordinator.Run ask; Release.Cells and Release.Totals read the answer,
// Release.Label says what it means. Everything else is configuration.
//
// # Guarantee
//
// A release, with its label and with every error and refusal, is (ε, δ)-
// differentially private for neighbouring datasets that differ in one privacy
// unit: all its records, at all nodes, added or removed. The cost in the label
// is the whole of it. Releases of one dataset epoch compose; the dp.Ledger adds
// them up, refuses what the budget does not cover, and what is asked in another
// unit than the epoch's. An epoch is named by who owns the data, at the node
// (NodeConfig.Epoch), so that nobody gets a fresh budget by naming it anew.
// Neighbours share the inventory, the roster and the catalog, and agree on the
// home stores of the members that both contain.
//
// The units, chosen per query and repeated by the label:
//
//	UnitMember        One member with all her lists, sales and her membership.
//	                  She counts at the first Bounds.MaxNodes of her home stores
//	                  (in the order of registration, from the Memberships rows)
//	                  and her records at other nodes are dropped. Every node must
//	                  have the same rows for a member, fixed before the window:
//	                  Homes keeps them. DistinctMembers under TrustedCoordinator needs
//	                  no homes and has her whole, wherever she is.
//	UnitList          One shopping list, known by its ID and its preferences. A node
//	                  counts it if the node is among the first Bounds.MaxNodes
//	                  distinct preferences written in it. All nodes must know a list
//	                  by the same ID.
//	UnitMemberAtNode  One member at one store; MaxNodes is 1. The label adds what
//	                  holds for a member seen at 2, 4 and 8 stores.
//	UnitSale          One sale at one store, the whole basket; MaxNodes is 1.
//
// Under UnitMember and UnitMemberAtNode a sale without a member is a unit of its
// own, (store, sale id). A list without a member is not counted there. A record
// for whose member NodeConfig.Pseudonym fails is dropped, and never anonymous;
// so is, at this node, a list that does not name it and a sale that names
// another store or several.
//
// Bounding, at a node: the window's contributions are added up by (unit,
// partition); each sum is cut to LInf; if more than L0 partitions or more than
// L1 in all remain, the partitions are ordered by a PRF of (node secret, epoch,
// query digest, unit, partition), the first L0 kept and the total trimmed to L1
// in that order. So what one unit contributes does not depend on any other, or on the order of
// rows: adding a unit adds its clipped vector and changes nothing else, and
// dp.Bounds.Sensitivity bounds that vector. No amplification is claimed for it.
//
// Two kinds of query do not add records up one by one. RFM folds a unit's records into a few
// numbers first, contributes once and is bounded like the rest. DistinctMembers enters units in a
// bitmap; its own doc has the proof of its sensitivity.
//
// # What it does not protect against
//
//   - The coordinator, under TrustedCoordinator: it sees each node's exact
//     bounded sums, or sketch. Encrypt the transport; trust the machine. If it loses its
//     ledger it can noise old reports anew, and averages take noise away; a node
//     with a ledger of its own answers a round only to the coordinator that
//     asked first.
//   - Inventory. It is the store's own, is published un-noised as its owner
//     declares (Independent, Counted), and no noise protects it.
//   - Timing, and coverage through it: when a report arrives may depend on how
//     much there was to sum. A late one is discarded unread.
//   - A node that lies about its records, or a membership service that gives
//     nodes different homes for one member.
//   - One person under two member ids: she is two units, and what is (ε, δ) for one is
//     (2ε, (1+exp(ε))·δ) for her. In DistinctMembers she is two members.
//   - A coordinator together with a store that holds the pseudonym key, in DistinctMembers: they
//     can look up the bin of any member that the store can name, at every other store; with a key
//     server in place of the key, of its own members and of those that it asks for there.
//     Under Local they learn of each bit what its ε allows.
//   - A node's own ledger, under TrustedCoordinator: it holds the reports that were sent, which are
//     exact. The coordinator's holds noised releases alone.
//   - A ledger that forgets, under Local: a node's own ledger is what bounds a member's loss
//     there, with one MaxNodes in an epoch (NodeConfig.MaxNodes) at most by its budget.
//   - What the stores' own operators see: Audit, and the exceptions of package source.
//
// # Rounds
//
// A round is one query asked once. The coordinator asks every store of the
// query and collects until all have answered or refused, or the deadline. A node
// that is late, refuses, or sends two different answers is left out and named in the
// coverage; it is no error. Below the quorum the round ends with *QuorumError
// and charges nothing. Else the charge is reserved in the ledger, then the noise
// drawn, then charge and release committed together, then the release returned.
// The same question again returns the stored bytes. If a coordinator stops
// between reserving and storing, the charge stays spent and the round ends as
// ErrInterrupted, for noise is never drawn twice for one answer. Asking anew is the
// next Question.Round. Under Local a node does the same before its report leaves: it reserves in
// its own ledger, flips, stores, sends, and sends the stored bytes to whoever asks that round
// again; what it had reserved and not stored when it stopped nobody saw, so it flips anew for the
// same charge. The coordinator then adds no noise. Functions that panic, and records that name nothing
// useful, are the node's business; an error of its records or its ledger makes
// it drop out.
//
// # Formats
//
// Query: JSON without white space of one object with these fields in this
// order: name, version, params, from, unit, trust, cells, stores and partitions
// (each sorted by bytes), epoch, window {from, to: RFC 3339 in UTC, with the
// fraction of a second if there is one, without trailing zeros; a bound that is
// open is left out}, bounds {l0, linf, l1, max_nodes}, privacy {epsilon, delta,
// mechanism}, select (null, or as privacy), quorum. Strings and numbers are as
// encoding/json writes them: in strings <, >, & and U+2028, U+2029 become \u003c and so on, and
// other characters beyond ASCII stay; numbers are the shortest that read back
// the same, with an exponent below 1e-6 and from 1e21. The SHA-256 of these bytes is
// the query's digest. The round is not part of it.
//
// Ask, coordinator to node: "LARDER-ASK-1\n"; the round, 8 bytes big endian; 16
// random bytes, the same for the life of one coordinator; the query.
//
// Report, node to coordinator, numbers big endian: "LARDER-REPORT-1\n"; query
// digest, 32 bytes; round, 8; length of the epoch, 2; epoch; length of the node
// id, 1; node id; flags, 1; number of partitions n, 4; n amounts of 8 bytes in
// the order of the query's partitions; if flag 1, n counts of units of 8 bytes;
// if flag 2, n inventory counts of 8 bytes, two's complement. Amounts and counts
// are at least 0, inventory above −2⁶², and all below 2⁶². Of DistinctMembers the
// flags are 4, n is the number of bins, and n/8 bytes follow: bin 8i+j is set if
// byte i has the bit 2^j. A member's bin is ⌊n·x/2⁶⁴⌋, with x the first 8 bytes of
// AES-128 of her pseudonym under the key "larder sketch 1" 00, which is no secret. The
// length depends on the query and on whether the node tells an inventory, never on a record.
//
// Refusal, node to coordinator: "LARDER-REFUSAL-1\n", then a JSON object of the
// strings node, rule, asked, accepts, each of at most 1 KiB and no others.
//
// A message that is not in these formats, or not about this round, is ignored.
//
// Release: JSON of one object: format "larder-release/1"; label, which has the
// fields of Label (bins only if there are any); stores and partitions; inventory, for every store an array
// over the partitions, or null; values, for every store an array over the
// partitions, and cells null; or values null and cells an array of [store
// position, partition position, value] where the query selects cells. Chain
// cells have the one store "*", with an inventory if all stores that answered
// told theirs.
package federated
