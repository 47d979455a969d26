# The two commands of the README, and the site of its pages; each does all the set-up.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.installed
SITE := .venv-docs

# Packages are translated when they are first imported (see below). Where Python may not keep what it has translated,
# every process translates anew, which takes five seconds of each start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test docs clean

demo: $(READY)
	$(VENV)/bin/python -m experiments rm_size
	$(VENV)/bin/python -m analysis rm_size

test: $(READY)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m pytest

# Without --no-compile pip translates every module of every package, half of the time, and few are ever imported.
# Without --no-deps it works out, for a quarter of the time, that the lock names every package.
$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r requirements.lock
	touch $@

# The source is this folder, so that links between pages lead to the same place in the tree and on the site.
docs: $(SITE)/.installed
	$(SITE)/bin/python -m sphinx -W --keep-going -n -q -E -c docs -d docs/_build/doctrees . docs/_build/html

$(SITE)/.installed: requirements.lock requirements-docs.lock
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r requirements-docs.lock
	touch $@

clean:
	rm -rf $(VENV) $(SITE) docs/_build runs analysis/out
