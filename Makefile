PYTHON ?= python3
BIN := .venv/bin
PROSE := README.md CONTRIBUTING.md CHANGELOG.md docs recipes examples tools src

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-oldest test-wheel check docs soak bench bench-gpu format

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

install: .venv/installed  ## create .venv with the exact versions of constraints.txt

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing into .venv ..."; start=$$(date +%s); \
	$(PYTHON) -m venv .venv && \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]' && \
	touch .venv/installed && echo "Installed in $$(( $$(date +%s) - start )) seconds."

demo: install  ## fine-tune a real teacher, distil a student of half its layers, write the report
	@$(BIN)/python examples/prepare_demo.py
	@start=$$(date +%s); $(BIN)/innerdistill distill recipes/demo.yaml overwrite=true && \
	echo "Demo done in $$(( $$(date +%s) - start )) seconds after the install."

test: install  ## run the tests that are not marked slow, offline: 5 to 15 minutes on 2 cores
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m 'not slow'

test-all: install  ## run every test, offline: 10 to 30 minutes on 2 cores
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-oldest: .venv-oldest/installed  ## run every test with the oldest allowed versions
	@.venv-oldest/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.venv-oldest/installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable '.[dev]'
	touch .venv-oldest/installed

test-wheel:  ## build wheel and sdist, try the wheel in an environment without extras: 5 minutes and PyPI
	rm -rf build/wheel
	$(PYTHON) -m venv build/wheel/tools
	build/wheel/tools/bin/python -m pip install --quiet build twine
	build/wheel/tools/bin/python -m build --outdir build/wheel/dist .
	build/wheel/tools/bin/python -m twine check --strict build/wheel/dist/*
	$(PYTHON) -m venv build/wheel/empty
	build/wheel/empty/bin/python -m pip install --quiet --constraint constraints.txt build/wheel/dist/*.whl
	build/wheel/empty/bin/python tools/check_wheel.py

check: install  ## ruff, mypy, pydoclint, codespell, plain English
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pydoclint src
	$(BIN)/codespell
	$(BIN)/python tools/lint_prose.py $(PROSE)

docs: install  ## build the documentation into build/docs: open build/docs/index.html
	@rm -rf build/docs
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@$(BIN)/python tools/check_site.py build/docs

soak: install  ## kill a run in every phase, read 50,000 generated files of each format: 40 to 150 minutes on 2 cores
	@$(BIN)/python examples/prepare_demo.py
	@rm -rf runs/kills
	@$(BIN)/python benchmarks/kills.py runs/kills
	@MADE_INPUTS=50000 $(BIN)/python -m pytest -n auto --dist worksteal tests/data/test_formats.py
	@$(BIN)/python benchmarks/large_data.py runs/large

bench: install  ## time steps and whole jobs beside other tools: 95 minutes on 2 cores
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@$(BIN)/python examples/prepare_demo.py
	@$(BIN)/python examples/prepare_mpnet.py
	@$(BIN)/python benchmarks/speed.py steps cola mrpc rte --threads 1
	@$(BIN)/python benchmarks/speed.py steps cola mrpc --threads 1 --no-dropout --repeats 2 --only live cached fine
	@$(BIN)/python benchmarks/speed.py steps cola mrpc rte --threads 2 --only live cached fine
	@$(BIN)/python benchmarks/speed.py steps 512 1024 --threads 2 --repeats 2 --only ours fine
	@$(BIN)/python benchmarks/speed.py steps cola --model demo-data/mpnet --threads 1 --repeats 2 --only our fine
	@$(BIN)/python benchmarks/speed.py jobs cola mrpc rte --threads 2
	@$(BIN)/python benchmarks/speed.py jobs cola mrpc rte --threads 1 --repeats 1 --only grouped cached "time, padded"
	@$(BIN)/python benchmarks/speed.py jobs cola mrpc rte --threads 2 --rows 640 --repeats 1 --only grouped cached
	@$(BIN)/python benchmarks/speed.py jobs cola --threads 2 --rows 32 --only cached
	@$(BIN)/python benchmarks/speed.py jobs cola --model demo-data/mpnet --threads 2 --rows 96 --repeats 1 --only cached
	@$(BIN)/python benchmarks/speed.py jobs 512 --rows 16 --threads 2 --repeats 1
	@$(BIN)/python benchmarks/speed.py memory 256 512 1024 2048 4096
	@$(BIN)/python benchmarks/speed.py memory 512 --only grouped "live, bf16"
	@$(BIN)/python benchmarks/show_speed.py

bench-gpu:  ## time them on an NVIDIA GPU, in your own environment with torch for CUDA and `.[bench]`
	python examples/prepare_demo.py
	python benchmarks/attention_loss.py 64 512 2048 8192
	python benchmarks/speed.py steps cola mrpc 512 --device cuda --threads 1
	python benchmarks/speed.py steps 128 512 1024 2048 --device cuda --threads 1 --larger-batches 16 --only live tokens fine
	python benchmarks/speed.py jobs cola --device cuda --threads 1 --rows 640 --repeats 2

format: install  ## let ruff lay out the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
