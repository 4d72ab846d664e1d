# Godwit: everything a contributor runs. `make help` lists the targets.

GO       ?= go
TOOL     := $(GO) tool -modfile=tools.mod
FUZZTIME ?= 6s
BENCH    ?= .
KILLS    ?= 1000
STORM    ?= 19000
POINTS   ?= 50000

# Each module is built by its own go.mod; go.work is for people's editors and
# for go run ./bench/engine.
export GOWORK := off

# Debian packages the tests need, by the file that shows that they are there.
# gcc: the race detector is linked through cgo. fortunes: real text in many
# languages for the end-to-end test. curl: the recipe of docs/protocol.md. nodejs:
# the tests of sdk/js. npm and chromium: the demo page in a real browser. haproxy and nginx: the
# files of deploy/. iproute2: hosts in network namespaces.
NEEDS := curl:/usr/bin/curl gcc:/usr/bin/gcc libc6-dev:/usr/include/stdio.h git:/usr/bin/git \
	fortunes:/usr/share/games/fortunes/literature fortunes-zh:/usr/share/games/fortunes/tang300 \
	nodejs:/usr/bin/node npm:/usr/bin/npm chromium:/usr/bin/chromium \
	haproxy:/usr/sbin/haproxy nginx:/usr/sbin/nginx iproute2:/usr/bin/ip

# The parsers that meet bytes from outside, as package:FuzzTarget. A test of
# tidy_test.go fails when one of them does not exist.
FUZZ := \
	./edge/http1:FuzzUpgrade ./edge/ws:FuzzWSFrame ./edge:FuzzCursor ./edge:FuzzSession ./edge:FuzzProxyHeader ./link:FuzzBatch ./link:FuzzHandshake ./link/identity:FuzzIdentity ./router:FuzzMemberKey ./router:FuzzValue ./router/live:FuzzLastSeenFile \
	./edge/http1:FuzzExtensions ./edge/ws:FuzzInflate ./edge/ws:FuzzReaderAgainstOthers \
	./:FuzzClientFrameJSON ./:FuzzClientFrameProto ./:FuzzServerFrameJSON ./:FuzzServerFrameProto ./:FuzzNextFrame \
	./chat:FuzzCommand ./chat:FuzzRights ./chat:FuzzGroupCommand ./chat:FuzzFanoutCommand ./chat:FuzzGroupRecord ./chat:FuzzMarkCommand ./chat:FuzzRecord ./chat:FuzzConversationsCursor \
	./engine/wal:FuzzFrame ./engine/wal:FuzzWALRecover ./engine:FuzzBatch ./engine:FuzzSuperblock \
	./engine:FuzzBackupManifest ./tools/powerloss:FuzzLine \
	./engine/rows:FuzzParse ./engine/rows:FuzzParseGuard ./engine/segment:FuzzSegmentBlock \
	./engine/segment:FuzzSegmentFooter ./engine/segment:FuzzSegmentMeta ./engine/segment:FuzzSegmentSections \
	./harness/load:FuzzAgent ./harness/load:FuzzGreeting ./harness/load:FuzzHandshake ./harness/load:FuzzPayload \
	./harness/load:FuzzPlan ./harness/load:FuzzPollAnswer ./harness/load:FuzzSocketMessage ./harness/record:FuzzDistribution \
	./harness/record:FuzzMetrics ./harness/result:FuzzResult ./harness/scenario:FuzzScenario \
	./auth:FuzzJWKS ./auth:FuzzKeysFile ./auth:FuzzTicket ./auth:FuzzVerify

# Packages of the unit tier: all but those that start the binary.
UNIT = $$($(GO) list ./... | grep -v /e2e)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.PHONY: build
build: ## build bin/godwit
	$(GO) build -trimpath -o bin/godwit ./cmd/godwit

.PHONY: test
test: ## install what is needed, then lint, tidy and every test (about 20 minutes on two cores)
	@$(MAKE) --no-print-directory deps
	@failed=""; for tier in lint tidy unit js e2e browser fuzz; do \
		$(MAKE) --no-print-directory $$tier || failed="$$failed $$tier"; done; \
		if [ -n "$$failed" ]; then echo "make test: failed:$$failed" >&2; exit 1; fi
	@echo "make test: all passed"

.PHONY: deps
deps: ## install missing Debian packages (as root)
	@missing=""; for need in $(NEEDS); do \
		test -e "$${need#*:}" || command -v "$$(basename "$${need#*:}")" >/dev/null 2>&1 || missing="$$missing $${need%%:*}"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null 2>&1; then \
		echo "make deps: this system has no apt-get; install the counterparts of these Debian packages yourself:$$missing" >&2; exit 1; fi; \
	if [ "$$(id -u)" != 0 ]; then \
		echo "make deps: not root; run this once, then again make test:  sudo apt-get update && sudo apt-get install -y$$missing" >&2; exit 1; fi; \
	echo "make deps: installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get install -y -qq --no-install-recommends $$missing >/dev/null 2>&1 || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

.PHONY: lint
lint: ## gofumpt, go vet, staticcheck, go.mod in order
	@bad=$$($(TOOL) gofumpt -l .) || exit 1; if [ -n "$$bad" ]; then echo "not formatted (run make format):" >&2; echo "$$bad" >&2; exit 1; fi
	$(GO) mod verify
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags seededbugs ./...
	$(GO) vet -tags conformance ./cmd/godwit
	$(TOOL) staticcheck ./...
	GOWORK= $(GO) build -o /dev/null ./cmd/godwit # as the README says it, in the workspace
	cd bench && $(GO) mod tidy -diff && $(GO) vet ./... && $(GO) tool -modfile=../tools.mod staticcheck ./...

.PHONY: format
format: ## rewrite the sources as gofumpt wants them
	$(TOOL) gofumpt -w .

.PHONY: tidy
tidy: ## the rules of the house: imports, sizes, comments, a pure apply path
	$(GO) test -count=1 -run '^TestTidy' .

.PHONY: unit
unit: ## every package's tests under the race detector, and the planted faults
	CGO_ENABLED=1 $(GO) test -race -timeout 15m $(UNIT)
	$(GO) test -tags seededbugs -timeout 15m -run Seeded ./engine
	@out=$$($(GO) test -count=1 -timeout 15m -run Crash -v ./engine/wal ./engine 2>&1); code=$$?; \
		echo "$$out" | grep 'crash: points='; if [ $$code != 0 ]; then echo "$$out"; exit $$code; fi
	cd bench && $(GO) test -timeout 15m ./...

.PHONY: js
js: ## tests of the JavaScript SDK
	cd sdk/js && node --test

.PHONY: e2e
e2e: ## the real binary over real sockets, killed again and again
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 25m ./e2e/...

.PHONY: browser
browser: build ## the demo page in Chromium: drop the network, restart and kill the server
	cd e2e/browser && npm ci --no-audit --no-fund --silent && GODWIT_BINARY="$(CURDIR)/bin/godwit" node --test

.PHONY: conformance
conformance: ## the 517 WebSocket cases with as many messages as the public list sends
	GODWIT_CONFORMANCE=full $(GO) test -count=1 -timeout 60m -v -run TestAutobahnCases ./edge/conformance

# Two packages at a time, each built once, one worker each: a fuzz target must not
# starve its neighbour. A run that ends with "context deadline exceeded" and without
# a failing input was merely cut off at its time limit, which is a failure at times.
.PHONY: fuzz
fuzz: ## every parser that meets bytes from outside, FUZZTIME (6s) each
	@mkdir -p bin/fuzz
	@printf '%s\n' $(FUZZ) | cut -d: -f1 | sort | uniq -c | sort -rn | while read -r count package; do echo "$$package"; done | \
		xargs -P 2 -I{} sh -c ' \
		binary="$(CURDIR)/bin/fuzz/$$(echo "$$1" | tr -c "a-z0-9\n" _).test"; \
		$(GO) test -c -fuzz . -o "$$binary" "$$1" || exit 255; \
		for target in $(FUZZ); do \
			if [ "$${target%%:*}" != "$$1" ]; then continue; fi; \
			out=$$(cd "$$1" && "$$binary" -test.run "^$$" -test.fuzz "^$${target##*:}$$" -test.fuzztime $(FUZZTIME) \
				-test.fuzzminimizetime 1s -test.parallel 1 -test.fuzzcachedir "$$($(GO) env GOCACHE)/fuzz/godwit/$$1" 2>&1); code=$$?; \
			case "$$out" in *"Failing input"*) ;; *"context deadline exceeded"*) code=0;; esac; \
			if [ $$code != 0 ]; then echo "$$target"; echo "$$out"; exit 255; fi; \
			echo "$$target: $$(echo "$$out" | grep -E "^fuzz: elapsed" | tail -n 1)"; \
		done' _ {}

.PHONY: generate
generate: ## rewrite the code generated from godwit.proto
	@command -v protoc >/dev/null || { echo "make generate needs protoc (Debian: protobuf-compiler)" >&2; exit 1; }
	$(GO) build -modfile=tools.mod -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go
	PATH="$(CURDIR)/bin:$$PATH" $(GO) generate ./...

.PHONY: benchmarks
benchmarks: ## write BENCHMARKS.md and its plots anew from bench/results
	$(GO) run ./cmd/godwit bench page

# The measured figures behind the page; commit them together with it.
STAGES := $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count 3 . ./auth ./chat ./edge ./edge/http1 ./edge/ws ./engine ./engine/wal
E2E    := $(GO) test -run '^$$' -bench DurableSends -benchtime 300000x -count 3 ./e2e
.PHONY: stages
stages: ## measure every stage of the message path into bench/results/stages.txt; then make benchmarks
	@mkdir -p bin
	@{ echo "commit: $$(git rev-parse --short=12 HEAD)"; echo "date: $$(date -u +%Y-%m-%d)"; \
	echo "command: make stages"; $(STAGES); echo "command: make stages"; $(E2E); } | tee bin/stages.txt
	@! grep -q FAIL bin/stages.txt && mv bin/stages.txt bench/results/stages.txt

.PHONY: benchstat
benchstat: ## compare OLD with NEW, two files of make stages: make benchstat OLD=a.txt NEW=b.txt
	$(TOOL) benchstat $(OLD) $(NEW)

.PHONY: soak
soak: ## the kill campaign with KILLS (1000) kills for 1 and for 8 raft groups, a storm of STORM (19000) reconnects, POINTS (50000) crashes of the engine
	GODWIT_E2E_KILLS=$(KILLS) CGO_ENABLED=1 $(GO) test -race -v -count=1 -timeout 0 -run 'FiftyKills' ./e2e/...
	GODWIT_E2E_STORM=$(STORM) $(GO) test -v -count=1 -timeout 0 -run 'Storm' ./e2e/...
	GODWIT_CRASH_POINTS=$(POINTS) $(GO) test -v -count=1 -timeout 0 -run 'Crash|Flip|Full|Failed' ./engine/...

.PHONY: edgefaults
edgefaults: ## 3 edges with 5,000 sessions each: one is killed, the directory is away, slow and wrong; some 4 minutes
	$(GO) run ./tools/edgefaults

.PHONY: clean
clean: ## remove what the build made
	rm -rf bin
