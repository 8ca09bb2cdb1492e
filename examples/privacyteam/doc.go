// Package privacyteam is what a privacy team keeps beside a federation that it
// only imports: its own parts, and the tests that hold them and the federation
// to their promises, one line a property.
//
//	go test ./examples/privacyteam                                  # green
//	go test ./examples/privacyteam -args -sabotage list             # the broken builds, and who catches them
//	go test ./examples/privacyteam -args -sabotage silent-store     # red
//
// The parts are what a co-operative of shops brings in place of Larder's own:
//
//	Bulk     a custom query: what is bought in bulk
//	Watched  a ledger with metrics around any other one
//	Cards    pseudonyms under a key of their own for each epoch
//	Journal  records from a file that a till writes
//	Visits   a computation beside the federation, with noise and error bars
//
// # The tests
//
// privacy_test.go has a test a property. Each takes the parts from ours, which
// is where a flag breaks them. sabotage_test.go has the broken builds: each
// changes one part, through what any importer has, and names the test that has
// to go red. TestSabotage runs them all in every build, so that a kit, or a
// refactoring, that does not see them any more is found the day it comes. A team
// that copies this begins by writing down the bugs that it fears.
//
// What the tests do not see is in docs/testing-a-federation.md, threat by threat.
//
// # To make it a repository
//
// Nothing here imports anything that is internal, and Go would not let it: the
// folder is a repository's worth of files. It is a package of the root module
// and not a module, so that one go.sum holds and CI builds it once. To begin a
// repository, copy the folder beside a checkout of Larder:
//
//	cp -r larder/examples/privacyteam ours && cd ours
//	go mod init example.com/ours
//	go mod edit -require=github.com/larder-dp/larder@v0.0.0 -replace=github.com/larder-dp/larder=../larder
//	perl -pi -e s,github.com/larder-dp/larder/examples/privacyteam,example.com/ours, *.go
//	go mod tidy && go test .
package privacyteam
