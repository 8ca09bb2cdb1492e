// Package ledger holds privacy budgets where they outlive the process: in a file
// for one process, or in a database for many. Both are a dp.Ledger.
//
//	l, err := ledger.Create(path, ledger.Config{Budget: dp.Budget{Epsilon: 4, Delta: 1e-6}}) // once
//	l, err := ledger.Open(path, ledger.Config{})                                             // at every later start
//
//	l, err := ledger.CreateSQL(ctx, db, ledger.PostgreSQL, ledger.Config{Budget: dp.Budget{Epsilon: 4, Delta: 1e-6}}) // once
//	l, err := ledger.OpenSQL(ctx, db, ledger.PostgreSQL, ledger.Config{})                                             // in every process
//
// (or ledger.SQLite, with sql.Open("sqlite", path) of modernc.org/sqlite)
//
//	n, err := ledger.HowMany(ctx, l, charge)  // how many more of these can I ask
//	r, err := l.Report(ctx, epoch, unit)      // what was spent, and what a refill means
//
// # Promise
//
//   - Order. What Reserve acknowledged is durable (fsync, or a commit of the database), and what Lookup shows was durable before. So the order reserve, draw noise,
//     commit and store, tell survives a crash at any point.
//   - Once. A key is charged once and has one release for ever.
//   - No overspending. Charges are added exactly, as rationals, one after the other
//     in one chain: no two of them pass a budget together.
//   - No refund. Whoever reserves and dies leaves a charge without a release. It
//     never expires into a refund, because noise may have been drawn and seen: it
//     is spent, and Report counts it. The question is asked again as a new round.
//   - No silent change. Every record is chained to the ones before. A changed bit
//     is an error that names its place, and opening never begins a ledger anew.
//   - Refusals help. A *dp.BudgetError says the largest ε and δ, the number of
//     repetitions and the earliest time that would be accepted.
//
// # Budgets, windows and refills
//
// Every dataset epoch has the same Budget, in the privacy unit of its first charge:
// a charge in another unit is a *dp.UnitError, because what protects a list says
// nothing of the member who wrote fifty. Windows, such as a week or a
// season, limit the pace on top: a charge has to fit the epoch's budget and every
// window that now lies in. A window that begins anew never raises what the epoch
// has left. It does not undo anything either: for rows that are there in both
// weeks, the loss is the sum of both, which is what Report says. Only new rows, in
// a new dataset epoch, have lost nothing yet, and a person who is in k epochs has
// lost the sum of k.
//
// How charges add up is the policy's dp.Rule: "sum" adds their ε and δ; "zcdp" adds their
// ρ, so that of many questions with Gaussian noise far more fit the same budget. Both
// hold for questions chosen in view of earlier answers. The rule is recorded with each
// charge, with the mechanisms behind it, so that an auditor can give them to
// dp.Compose.
//
// # What it does not protect against
//
//   - An old copy. A ledger and everything beside it that are set back together
//     to last week are valid in themselves, and would let last week's budget be
//     spent twice. Nothing inside can tell. A witness elsewhere can: whoever keeps
//     a Head (each release's label carries its hash) and gives it as Config.Known,
//     or to Verify, finds out, and finds a fork. Nodes should.
//   - Somebody who can write to the file or the tables and knows this text. He can
//     make up a whole chain. The witness helps against what was there before.
//   - A disk that says that it has written and has not, and two machines that open
//     one file over a network file system whose flock is not real.
//   - Clocks. Each process puts a charge into the windows of its own clock.
//   - Reading: releases are stored as they are. They are public by design, and
//     epochs, units and times of questions stand beside them.
//
// # The file
//
// One process has it open; another gets ErrLocked with the pid of the first. All
// numbers are big endian. It begins with
//
//	8    4c 41 52 44 45 52 00 01: "LARDER", 0, version 1
//	32   the ledger's id, random
//	4    n
//	n    the policy: JSON of budget, windows and rule, as encoding/json writes it
//	32   head₀ = SHA-256(all bytes before)
//
// and goes on with records, of which the i-th is
//
//	4    n
//	8    m; 0 in a reservation
//	8    the first 8 bytes of SHA-256(headᵢ₋₁ ‖ the 12 bytes before)
//	n    record
//	m    release
//	32   headᵢ = SHA-256(headᵢ₋₁ ‖ SHA-256(record))
//
// where a record is one of
//
//	reservation                            commit
//	1   'R'                                1   'C'
//	8   time, in ns since 1970             8   time
//	8   round                              8   round
//	32  query digest                       32  query digest
//	    epoch, as text                         epoch, as text
//	    unit, as text                      8   m
//	    rule, as text: "sum" or "zcdp"     32  SHA-256(release)
//	    events, as text: JSON, as encoding/json writes
//	    dp.Event; empty if there are none
//	8   ε, IEEE 754
//	8   δ, IEEE 754
//	8   count, at least 1
//
// and a text is its length in 4 bytes and then UTF-8. A release is at most 1 GiB.
//
// A file that ends inside a record has a torn tail: a crash while it was written,
// of which nobody was told. So has one that ends in zero bytes where a record should
// begin. Open cuts it off and TornTail reports it. The lengths have a hash
// of their own so that rot in them is no torn tail. Anything else that does not
// verify is a *CorruptError and changes nothing; if a power failure left it, on a
// file system that does not write in order, compare with a witness: if its head is
// in what comes before the offset, and it was kept after every release, nothing that was shown is lost.
//
// Beside it lies FILE.head, the last head and who has the ledger open: 512 bytes
// of text, overwritten after each fsync and before the acknowledgement. So it is
// never ahead of the file, and a file that lacks it is refused as truncated or old.
// It finds accidents, not somebody who sets both files back. A copy needs both;
// without FILE.head a Known head must vouch for the file.
//
// The file is known by its path, through symbolic links. Before it acknowledges, the
// process that has it open makes sure that the path still names it: a ledger that was
// moved, replaced or deleted meanwhile is broken for that handle, so that a copy in its place and
// the original are never charged side by side.
//
// A write or fsync that fails is final for the handle: every later call that
// depends on the disk returns ErrBroken. An fsync is never tried again, since it may succeed without the
// pages that the first one dropped. Open writes what the last witness had not
// confirmed once more, and syncs it. Concurrent charges share an fsync.
//
// Open reads and hashes all of it: allow a second for each few hundred megabytes.
// Memory holds an entry for each charge, not the releases.
//
// # The database
//
// The caller brings the sql.DB and its driver: this package links none. The
// tables are found by the connection's search path, or are those of SQLite's
// file; a schema holds one ledger. CreateSQL makes
//
//	larder_ledger: one row
//	one      1
//	version  1
//	id       the ledger's id, random, 32 bytes
//	policy   the policy, as in a file
//	start    head₀, as in a file
//	seq      how many records there are
//	size     what a file of them would have, in bytes
//	head     the head of the last
//
//	larder_charges: a row for each reservation
//	seq      its number in the chain, from 1
//	epoch, round, digest
//	         its key, unique
//	record   the record, as in a file
//	head     headᵢ, as in a file
//
//	larder_releases: a row for each commit
//	seq      its number in the same chain
//	charge   the seq of its reservation, unique
//	record   the record
//	head     headᵢ
//	release  the release, at most 256 MiB
//
// so heads are those of a file with the same records, and amounts are rounded nowhere.
// Nothing in the tables is believed: each process reads the records that it has not
// seen at the beginning of every call, verifies them, and adds up for itself.
// A column that is not what was written, a row that is missing and one too many
// are a *CorruptError, whose Offset is that of the record in such a file. A
// head that this process has seen and that is not extended is ErrRolledBack,
// as after a restore, or a failover to a server that was behind. A process that
// starts has seen nothing: give it Known heads. What was verified
// once is read again by OpenSQL and VerifySQL only, and releases by Lookup and
// VerifySQL.
//
// A charge is one transaction, and so is a commit with its release. Under
// PostgreSQL it is serialisable and takes the table larder_ledger in exclusive mode first,
// so that processes queue and do not fail; under SQLite it is
// BEGIN IMMEDIATE. Readers wait for nobody, but in a SQLite file without WAL. Where
// the database says that somebody was in the way, or the connection breaks, the
// call tries again for half a minute, or as long as its context lasts. When the
// answer to a COMMIT is lost, it first looks, under the lock that the lost
// transaction held, what became of it; only if the database cannot be reached
// does it return an error that leaves it open, and Lookup tells later. All
// transactions stand in one line: allow one or two fsyncs for each.
//
// Durability is not left to settings. PostgreSQL runs each transaction with
// synchronous_commit at least on, and is refused with fsync or full_page_writes
// off, or with unlogged tables. SQLite runs with synchronous=EXTRA and fullfsync, and is refused in
// memory and with journal_mode off or memory. WAL is the faster mode.
// The file must be on a local disk, and nobody may move or replace it while a
// process has it open.
//
// A role that only charges needs no right to change or delete a record:
//
//	GRANT SELECT, UPDATE ON larder_ledger TO charger;
//	GRANT SELECT, INSERT ON larder_charges, larder_releases TO charger;
package ledger
