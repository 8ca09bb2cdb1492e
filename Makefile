# The checks of .ci/run, by hand. Every target runs over all modules of the repository.

MODULES := $(patsubst %/go.mod,%,$(shell find . -name go.mod -not -path '*/testdata/*' | sort))
TOOL    := go tool -modfile=$(CURDIR)/.ci/tools/go.mod
# ST1005 wants errors in lower case; ours begin with the name of the field that is wrong.
CHECKS  := inherit,-ST1005
each     = @set -e; for m in $(MODULES); do (cd $$m && echo "== $@ $$m" && $(1)); done

# A go.work above the repository must not choose the modules, nor a go.mod the toolchain.
export GOWORK      := off
export GOTOOLCHAIN := local

.PHONY: all test full lint fmt bench cover ci help

all: test lint ## test and lint

test: ## run the tests, as README does
	$(call each,go test ./...)

full: ## run the tests at full counts, then with the race detector (long)
	$(call each,LARDER_FULL=1 go test -count=1 -timeout 60m ./...)
	$(call each,go test -race -count=1 -timeout 60m ./...)

lint: ## check format, vet and staticcheck
	$(call each,! $(TOOL) gofumpt -l . | grep .)
	$(call each,go vet ./...)
	$(call each,$(TOOL) staticcheck -checks $(CHECKS) ./...)

fmt: ## format the code
	$(call each,$(TOOL) gofumpt -w .)

bench: ## run the benchmarks ten times; compare two outputs with: go tool -modfile=.ci/tools/go.mod benchstat OLD NEW
	$(call each,go test -run '^$$' -bench . -benchmem -count 10 ./...)

cover: ## measure how much of the library the root module's tests reach
	go test -coverpkg ./dp/...,./pseudonym/...,./federated/... -coverprofile cover.out ./...
	go tool cover -func cover.out | tail -n 1

ci: ## run what CI runs
	bash .ci/run

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1	\2/p' Makefile | expand -t 8
