# What is run before a commit (fast) and before a merge (check). CONTRIBUTING.md says how to call each without make.
PYTHON ?= python

# Folders whose tests load no pipeline and start no browser: importing diffusers alone takes longer than they do.
FAST = tests/test_import_rows.py tests/test_contributing.py tests/extension tests/maps/test_numbers.py tests/pictures \
       tests/prompt/test_quirks.py tests/prompt/test_spans.py tests/results/test_file_names.py tests/rewriting \
       tests/viewer/test_javascript.py

.PHONY: fast check format lint types javascript

fast: lint types
	$(PYTHON) -m pytest -m "not slow" $(FAST)

check: lint types javascript
	$(PYTHON) -m pytest

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

javascript:
	@if command -v npx >/dev/null; then npx --yes eslint@9 .; else echo "no npx: eslint is skipped"; fi
