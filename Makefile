# AMT-GAN as notebooks. `make` lists the targets.

PRESET ?= procedural
PYTEST_ARGS ?=
LAB_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
RESULTS_ARGS ?=
MEASURED_ARGS ?=
LOCK_ARGS ?=

VENV := .venv/bin

# The environment alone says which versions are used, and its own kernel comes before all others called python3.
unexport PYTHONPATH
export JUPYTER_PATH := $(CURDIR)/.venv/share/jupyter$(if $(JUPYTER_PATH),:$(JUPYTER_PATH))

# Threads of OpenMP that wait do not keep a busy machine's cores from other programs.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

# Photographs and weights from a folder instead of the network; set AMTGAN_ASSET_MIRROR= (empty) to do without.
ifeq ($(origin AMTGAN_ASSET_MIRROR),undefined)
ifneq ($(wildcard ../shared/assets/.),)
export AMTGAN_ASSET_MIRROR := $(CURDIR)/../shared/assets
endif
endif

.PHONY: help setup test test-all lint reproduce leave-one-out lab demo bench results measured gpu-pack lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

setup: ## make the Python environment .venv (PYTHON=/path/to/python3.11 to choose the interpreter)
	@./setup_environment.sh

# A worker a core, with one thread each, which takes whole files, the long ones first (tests/conftest.py).
PYTEST := $(VENV)/python -m pytest -n auto --maxprocesses=4 --dist=loadscope --no-loadscope-reorder --durations=10

# In an environment of its own, as it needs a network anyway. Strict: an index that does not know a package is no answer.
AUDIT := $(VENV)/uvx --quiet --python $(VENV)/python pip-audit --requirement requirements.lock --no-deps --disable-pip \
  --strict --progress-spinner off

test: setup ## run the tests, 10 to 20 minutes on two cores (PYTEST_ARGS="-k words")
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: setup ## run the slow tests, too: whole notebooks, every front end, more sizes and seeds; then audit the packages
	$(PYTEST) $(PYTEST_ARGS)
	@$(AUDIT) || { echo "The audit failed: packages have known holes, or it could not ask pypi.org about them (above)." >&2; exit 1; }

lint: setup ## check style, format and types
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/python -m mypy

reproduce: setup ## run the notebooks in order and write tables and figures (PRESET=procedural)
	$(VENV)/python -m amtgan_lib pipeline --preset $(PRESET)

leave-one-out: setup ## Table 1 with each drawn recogniser held out in turn: four runs on all cores
	$(VENV)/python -m amtgan_lib sweep --preset procedural-long -p "split=leave one out" --sweep-id leave-one-out \
	  --over held_out=drawn_ir,drawn_irse,drawn_mobile,drawn_inception

# Jupyter's connections drop messages of more than 10 MB, and with them larger photos; the widgets say the limit.
export AMTGAN_UPLOAD_MB := 100
UPLOADS = --$(1).tornado_settings="{'websocket_max_message_size': $(AMTGAN_UPLOAD_MB)999999}"

# JupyterLab asks its makers for news and newer versions, and a package index for extensions, unless it is told not to;
# and the user, in a box over the notebook, whether it may, unless the environment's settings answer that.
QUIET = --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
  --LabApp.extension_manager=readonly
LAB_SETTINGS := .venv/share/jupyter/lab/settings
NO_NEWS := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}

# From the checkout's root, so that results and reports can be opened, too.
lab: setup ## open JupyterLab on the quickstart (LAB_ARGS="--no-browser")
	@mkdir -p $(LAB_SETTINGS) && echo '$(NO_NEWS)' >$(LAB_SETTINGS)/overrides.json
	$(VENV)/python -m jupyterlab notebooks/00_quickstart.ipynb --ServerApp.root_dir="$(CURDIR)" $(call UPLOADS,ServerApp) $(QUIET) $(LAB_ARGS)

# Only what is to be clicked: a visitor of the folder of all notebooks could start a training.
demo: setup ## serve the demos with voila (DEMO_ARGS="--no-browser --port=8866")
	@mkdir -p build/demos && ln -sf ../../notebooks/00_quickstart.ipynb $(addprefix ../../,$(wildcard notebooks/demo_*.ipynb)) build/demos/
	@echo "then open /voila/render/00_quickstart.ipynb, demo_makeup_strength.ipynb, demo_results.ipynb or demo_which_is_protected.ipynb there"
	$(VENV)/python -m voila build/demos $(call UPLOADS,Voila) $(DEMO_ARGS)

bench: setup ## measure speeds beside the published algorithm's (BENCH_ARGS="generator --repeats 20")
	$(VENV)/python -m benchmarks.speed $(BENCH_ARGS)

results: setup ## make the tables and figures of README.md and docs/ again from results/measured (RESULTS_ARGS=--check)
	$(VENV)/python -m amtgan_lib results $(RESULTS_ARGS)

measured: setup ## measure the tables of results/measured anew, hours (MEASURED_ARGS="natural open-small", all, --keep)
	$(VENV)/python -m benchmarks.measured $(MEASURED_ARGS)

gpu-pack: setup ## pack crops and weights for a GPU without a network into gpu_pack/, after --preset open's notebook 1
	$(VENV)/python -m benchmarks.gpu_pack pack $(if $(wildcard ../shared/golden/.),--golden ../shared/golden)

# numpy<2 with the rest makes the set that everything here was measured with. Versions already locked are kept where
# pyproject.toml allows it (LOCK_ARGS=--upgrade takes the newest). Options that carry addresses are taken out.
lock: setup ## write requirements.lock anew from pyproject.toml
	printf '%s\n' torch==2.11.0 torchvision==0.26.0 'numpy<2' | $(VENV)/uv pip compile pyproject.toml \
	  --universal --python-version 3.11 --extra all --no-header --no-annotate \
	  --constraint /dev/stdin --output-file requirements.lock --quiet $(LOCK_ARGS)
	sed -i.old '/^-/d; /^$$/d' requirements.lock && rm requirements.lock.old
	@! grep -n '://\| @ ' requirements.lock || { echo "requirements.lock names an address: name a released version instead." >&2; exit 1; }

clean: ## remove caches and what was built (the environment, data and results stay)
	rm -rf .pytest_cache .ruff_cache build dist *.egg-info
	find . \( -path ./.git -o -path ./.venv \) -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
