// Package dptest is a kit for privacy teams: it checks what they bring to package
// dp, or rely on, by rules that are written beside each check.
//
// LedgerConformance holds a dp.Ledger to its contract:
//
//	func TestOurLedger(t *testing.T) {
//		dptest.LedgerConformance(t, dptest.LedgerKit{New: ours, Reopen: oursAfterACrash})
//	}
//
// CheckLedger is the same outside a test, such as against a staging database.
//
// The kit tells what breaks a rule; that it finds nothing proves nothing. It
// cannot see what happens under a power failure, or between two machines.
package dptest
