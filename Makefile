# Everything is in tools/bootstrap.py; `make help` lists the targets. ARGS="…" is handed on to the command.
TARGETS := run test check demo storm conformance dev fmt lock clean help
HOST_PYTHON := $(shell .venv/bin/python -c '' 2>/dev/null && echo .venv/bin/python || echo python3)

.PHONY: $(TARGETS)
$(TARGETS):
	@$(HOST_PYTHON) tools/bootstrap.py $@ $(ARGS)
