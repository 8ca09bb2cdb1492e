// Package fedtest is a kit for privacy teams: it points go test at a federation,
// Larder's own or one with a team's parts in it, and a build that breaks a promise
// turns red.
//
//	func TestOurFederation(t *testing.T) {
//		fedtest.Run(t, fedtest.Config{Node: ours, Ledger: dptest.LedgerKit{New: open, Reopen: reopen}})
//	}
//
// or one line a property:
//
//	fedtest.Neighbours(t, c)       // one person moves what is noised by no more than its noise is scaled to
//	fedtest.DataIndependence(t, c) // nothing but noised values depends on records
//	fedtest.NoLeaks(t, c)          // no secret leaves, in any form
//	fedtest.Pseudonyms(t, c)       // pseudonyms cannot be computed from a guess
//	fedtest.FailsClosed(t, c)      // no budget, policy, quorum, key or ledger: no number
//	fedtest.Rounds(t, c)           // each answer that came in time counts once, others never
//	fedtest.Noise(t, c)            // every cell has noise of its own, fresh, of the declared deviation
//	fedtest.Crashes(t, c)          // a crash at any step charges once, draws once, loses nothing
//	fedtest.TestTransport(t, make) // what any Transport owes
//	fedtest.TestSource(t, records) // what any Source owes
//
// A ledger is held to its contract by dptest.LedgerConformance. Each check has a
// form that returns an error, for use outside of tests: CheckNeighbours and so on.
// A failure is a *Violation: the rule, by how much it was broken, the smallest
// input that was found to show it, and what such a fault lets happen.
//
// NewFederation gives a coordinator and nodes in memory for tests of one's own,
// with faults as a script:
//
//	f := fedtest.NewFederation(t, fedtest.Config{}, 1, 3000, 5000)
//	f.Faults(fedtest.Fault{Do: fedtest.Late, Node: "s000007"}, fedtest.Fault{Do: fedtest.Crash, Node: "s000009"})
//
// # How it tests
//
// Worlds are drawn from a seed: stores, members with lists, sales and home stores,
// anonymous baskets, rows that repeat, disagree, lie outside of the window, or have
// pieces and prices from −1 to beyond 2⁶². A seed always gives the same world, the
// same coins and, in a *testing.T, the same virtual time, so a failing seed fails
// again; the message has the command, such as
//
//	LARDER_SEED=17 go test -count=1 -run '^TestOurs$/^Rounds$' .
//
// LARDER_FULL=1 draws 1,000 worlds a check. What a team brings must take its
// randomness from CoordinatorConfig.Random and NodeConfig.Random and be otherwise
// deterministic, or DataIndependence fails: a difference that nobody can repeat hides
// those that depend on data.
//
// The kit's transport does the legal and rare: it asks twice, delivers twice,
// out of order, late, and after everything is over. It reads the wire by
// package federated's doc and not with its code, and compares rounds with that
// doc's rules written down plainly: sums within their bounds, what RFM makes of all that
// a unit did, the bin of every member.
//
// A sketch of DistinctMembers is no sum. Neighbours compares the number of bins that are set
// in any node's; under Local, where nodes flip bits, all bits as they are sent: two worlds under
// the same coins flip the same ones, so that they differ where they do before the flips. Rounds
// asks at an ε at which no bit is flipped, and compares every bin with the records. Noise looks at
// the flips, which are what a node sent and did not have: their rate at every node, among set
// bits and clear ones; that those of two nodes, questions, rounds or epochs have nothing to do
// with each other; that whoever asks again gets the same. Crashes lets a node answer a second
// life of the coordinator under Local, with the same bytes: they are noised. A sketch selects no
// cells and has no sum that could wrap, so that for these rules FailsClosed only wants that it ends
// at its bins, and Noise nothing.
//
// # Threats
//
//	what could go wrong                          check             what the check cannot see
//	noise scaled to less than a unit moves       Neighbours        worlds that it did not draw; a unit that the records do not show,
//	                                                               such as two ids of one person
//	a member counted twice by sketches, or at    Neighbours,       a sketch in another format than Larder's: the bins are compared with those
//	a bin that a guess of her id finds           Rounds            of package federated's doc
//	facts in errors, refusals, logs, metrics,    DataIndependence  the time of reports and of drop-outs, which is not promised; that of refusals
//	lengths, order, keys, inventory, the time                      outside of a *testing.T; processor time; what goes elsewhere than
//	of a refusal                                                   NodeConfig.Log, Config.Metrics and the messages; what shows at larger scale only
//	a member, id, time or key in what leaves     NoLeaks           other encodings (base 58) and encryptions; hashes of several fields together, or
//	                                                               with a salt; a Bloom filter, or a sketch in a file; a hash cut to fewer than 12 hex digits away from the name, which
//	                                                               chance finds in any log of hashes; what is spread over several log records
//	guessable or linkable pseudonyms             Pseudonyms        a key that is known, or weak, or the same as another's; two members merged
//	                                                               whose ids differ in case, white space, signs or leading zeros alone: they may
//	                                                               be one; pseudonyms of 24 bits and more that are their own, and not all 128
//	answers without budget, policy, quorum       FailsClosed       a policy that allows too much; who holds two budgets; digests of which 2 bytes
//	                                                               and more are compared, and not all: no two questions alike are found in time
//	answers counted twice, late or forged        Rounds            a transport that lies about who sent what: authenticity is the
//	                                                               transport's, see TestTransport
//	noise missing, shared, repeated, too small,  Noise             less than a third of the variance; the shape of the distribution; sums over
//	or cancelled by that of other cells                            some stores of many, each in a multiple of its own;
//	                                                               randomness that is bad and looks good: dptest audits samplers
//	flips under Local missing, shared, of        Noise, Crashes    a rate that is off by less than a tenth at a node, or a third among set
//	another ε, or drawn anew for one answer                        bits; flips of which less than a tenth is shared
//	a node that flips and does not charge        FailsClosed,      two ledgers for one node
//	what all homes of a member lose              Crashes
//	charges and releases lost or doubled         Crashes           a disk that lies; a crash inside of a call to the ledger:
//	                                                               dptest.LedgerConformance, and the ledger's own tests
//
// No black-box test certifies a small δ, a key's secrecy, or code that waits for a
// date. That the kit finds nothing proves nothing; what it is
// known to find is its sabotage catalogue: go test -run TestSabotage -v.
package fedtest
