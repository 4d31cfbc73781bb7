# Two commands: `make lab` opens your copies of the lessons in work/, `make test` tests everything but what
# takes hours: `make test-all` does that too.
# Both set up what they need first, in .venv; nothing else on the machine changes.
# On Windows: `py bootstrap.py lab`, `py bootstrap.py start`.
PYTHON ?= python3
ARGS ?=
PYTEST = .venv/bin/python -m pytest

.PHONY: lab test test-all book hub data setup lock audit

lab: .venv/ready-lab
	@.venv/bin/course lab $(ARGS)

# Real data first: a lesson's stored outputs hold no progress bar of a download.
test: .venv/ready-test
	.venv/bin/course data
	$(PYTEST) -n 2 --dist loadscope $(ARGS)

# One thing at a time: these measure, run whole lessons again and again, and build the book.
test-all: .venv/ready-book .venv/ready-hub
	$(MAKE) test
	$(PYTEST) -m long tests $(ARGS)

# A site of the solved lessons, for reading without running.
book: .venv/ready-book
	@.venv/bin/python -m course_tools.site

# What a class on one server needs; deploy/README.md goes on from here.
hub:
	@$(PYTHON) bootstrap.py hub

data: .venv/ready-lab
	.venv/bin/course data $(ARGS)

# Set up again, for instance after a compiler was installed.
setup:
	@$(PYTHON) bootstrap.py lab

# After a change of pyproject.toml: which versions and files set-up installs.
lock: .venv/ready-test
	.venv/bin/python -m course_tools.supply.lock $(ARGS)

# Is what is installed what is locked, file by file? Needs no network.
audit:
	.venv/bin/python -m course_tools.supply.audit

.venv/ready-lab .venv/ready-test .venv/ready-book .venv/ready-hub: .venv/ready-%: pyproject.toml bootstrap.py $(wildcard requirements/*.txt)
	@$(PYTHON) bootstrap.py $*
