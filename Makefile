# The two commands of the README; each does all the set-up.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.installed

.PHONY: demo test clean

demo: $(READY)
	$(VENV)/bin/python -m experiments rm_size
	$(VENV)/bin/python -m analysis rm_size

test: $(READY)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m pytest

# Without --no-compile pip translates every module of every package, half of the time, and few are ever imported.
$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	touch $@

clean:
	rm -rf $(VENV) runs analysis/out
