# `make` alone lists the targets. Everything lives in .venv; a second run of a target installs nothing.
#
#   PYTHON       the interpreter that makes .venv (default: python3, 3.11 or newer)
#   TORCH_INDEX  a package index to ask for torch first, for instance one that holds CPU builds only
#   MAIL, LIMIT  what `make demo` reads, and how many of its newest messages
#   ARGS         further arguments for pytest in `make test` and `make interop`, or for the benchmark or torture

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help demo serve train test interop bench-queue bench-encryption bench-delivery torture-payments canary check format lock diagram clean
export PYTHON TORCH_INDEX

bin := .venv/bin
install := requirements/install.sh requirements/settings.sh pyproject.toml

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/.stamp-serving ## Run the main job on the sample mailbox, or on MAIL=<mbox|Maildir|tar> LIMIT=<n>
	@exec $(bin)/python -m serving.demo $(if $(MAIL),--mail "$(MAIL)") $(if $(LIMIT),--limit $(LIMIT))

serve: .venv/.stamp-serving ## Start everything and stay up: HTTP on 3000, MLflow on 5000; Ctrl-C stops it
	@exec $(bin)/python -m serving.cli serve

train: .venv/.stamp-training ## Fine-tune: make train EXPERIMENT=experiments/001-....toml
	@test -n "$(EXPERIMENT)" || { echo "name an experiment: make train EXPERIMENT=experiments/001-....toml" >&2; exit 2; }
	@exec $(bin)/python -m training.train "$(EXPERIMENT)"

test: .venv/.stamp-dev ## Run every test that needs no system package, and the notebooks
	@exec $(bin)/pytest --ignore=tests/interop --nbmake tests notebooks $(ARGS)

interop: .venv/.stamp-dev ## Install Debian's packages and run the tests against foreign programs, none skipped
	@sh tests/interop/install.sh
	@exec env CI=true $(bin)/pytest tests/interop $(ARGS)

bench-queue: .venv/.stamp-bench ## Measure the queue beside others; installs Debian's packages for it (QUICK=1: in a minute)
	@sh tests/interop/install.sh experiments/benchmarks/queue/packages.txt
	@exec $(bin)/python -m experiments.benchmarks.queue $(if $(QUICK),--quick) $(ARGS)

bench-encryption: .venv/.stamp-dev ## Measure sealing beside the libraries, gpg and openssl, which it installs (QUICK=1: in a minute)
	@sh tests/interop/install.sh experiments/benchmarks/encryption/packages.txt
	@exec $(bin)/python -m experiments.benchmarks.encryption $(if $(QUICK),--quick) $(ARGS)

bench-delivery: .venv/.stamp-dev ## Measure what goes in and out by SMTP beside Postfix, which it installs (QUICK=1: in a minute)
	@sh tests/interop/install.sh experiments/benchmarks/delivery/packages.txt
	@exec $(bin)/python -m experiments.benchmarks.delivery $(if $(QUICK),--quick) $(ARGS)

torture-payments: .venv/.stamp-dev ## Kill everything while N notifications are paid for (default 2000), then compare the books
	@exec $(bin)/python -m tests.torture.payments $(if $(N),--n $(N)) $(ARGS)

canary: .venv/.stamp-dev ## Kill everything while N canaries fly (default 200), then search every file for them
	@exec $(bin)/python -m tests.torture.canary $(if $(N),--n $(N)) $(ARGS)

check: .venv/.stamp-dev ## Check format, lint, types and the import rules
	@$(bin)/ruff format --check .
	@$(bin)/ruff check .
	@$(bin)/mypy
	@$(bin)/lint-imports --no-cache

format: .venv/.stamp-dev ## Format and fix what can be fixed
	@$(bin)/ruff format .
	@$(bin)/ruff check --fix .

diagram: .venv/.stamp-serving ## Draw the pipeline in README.md again
	@$(bin)/python -m serving.diagram README.md

lock: .venv/.stamp-serving ## Resolve the dependencies again into requirements/*.txt (UPGRADE=1: the newest)
	@UPGRADE=$(UPGRADE) sh requirements/lock.sh

clean: ## Remove .venv and caches (var/ stays: it holds mail, keys and money)
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find data training serving tests experiments -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp-%: requirements/%.txt $(install)
	@sh requirements/install.sh $*
