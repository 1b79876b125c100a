# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One process per core with one thread each; a file's tests stay together, because they share fixtures, and long files
# start first (tests/conftest.py).
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all test-loggers lint gym bench docs release-check clean

# Versions are pinned in constraints.txt; the stamp makes a second call instant.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/danlu train digits

test: $(VENV)/installed-test
	$(TEST) -m "not slow"

test-all: $(VENV)/installed-test
	$(TEST)

# trackio does not take the Pillow of constraints.txt, so that its test has an environment of its own on top of the other.
LOGGERS := $(VENV)-loggers
SITE := -c 'import site; print(site.getsitepackages()[0])'

$(LOGGERS)/installed: $(VENV)/installed-test
	$(PYTHON) -m venv $(LOGGERS)
	echo "import site; site.addsitedir('$$($(BIN)/python $(SITE))')" > $$($(LOGGERS)/bin/python $(SITE))/danlu.pth
	$(LOGGERS)/bin/python -m pip install --quiet --disable-pip-version-check trackio
	touch $@

test-loggers: $(LOGGERS)/installed
	OMP_NUM_THREADS=1 $(LOGGERS)/bin/python -m pytest tests/loggers

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python tools/check_messages.py

# The doctor on a fixed sample of planted faults and healthy runs; fails where a bound is broken.
gym: $(VENV)/installed
	$(BIN)/python benchmarks/faults/score.py --quick

bench: $(VENV)/installed
	$(BIN)/python benchmarks/speed.py

# The documentation in both languages: open build/site/index.html through `python -m http.server -d build/site`.
$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

docs: $(VENV)/installed-docs
	$(BIN)/python -m tools.docs_site

# Wheel and sdist, installed into an empty environment; the demo runs from the wheel.
release-check: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt build
	$(BIN)/python tools/release_check.py

clean:
	rm -rf $(VENV) $(LOGGERS) .venv-peers
