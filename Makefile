# 'make help' lists the targets. Everything that is made goes to .venv, build and out.
.DEFAULT_GOAL := help
BIN := .venv/bin
# One thread for each process: the tests and the demo run several processes side by side.
export OMP_NUM_THREADS ?= 1
export AMENT_PREFIX_PATH := $(CURDIR)/.venv
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup engines demo demo-skeleton demo-points demo-object test test-numpy2 lint format clean

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1|/p' Makefile | column -t -s '|'

setup: ## make .venv with all dependencies and the built interfaces
	@tools/bootstrap.sh

demo: setup ## play the bundled street through the real node into a report page; DEMO_BAG=path adds your recording
	@$(BIN)/python tools/demo.py

demo-skeleton: setup ## lift the keypoints of people, or of motion made here, to 3D pictures; DEMO_WEIGHTS=file takes yours
	@$(BIN)/python tools/demo_skeleton.py $(if $(DEMO_WEIGHTS),--weights $(DEMO_WEIGHTS))

demo-points: setup ## describe the objects of a scan, or made here, by features; DEMO_WEIGHTS, DEMO_TEACHER take yours
	@$(BIN)/python tools/demo_points.py $(if $(DEMO_WEIGHTS),--weights $(DEMO_WEIGHTS)) \
		$(if $(DEMO_TEACHER),--teacher $(DEMO_TEACHER))

demo-object: setup ## make meshes of pictures of single objects; DEMO_IMAGE, DEMO_MASK, DEMO_MODEL take yours
	@$(BIN)/python tools/demo_object.py $(if $(DEMO_IMAGE),--image $(DEMO_IMAGE)) $(if $(DEMO_MASK),--mask $(DEMO_MASK)) \
		$(if $(DEMO_MODEL),--model $(DEMO_MODEL))

engines: setup ## fetch TensorRT-RTX and OpenVINO, 400 MB, without which their tests skip
	@tools/bootstrap.sh engines

test: engines ## run the whole suite; the node tests run again with the field checks of older distributions
	@$(BIN)/python tools/run_tests.py

test-numpy2: setup ## run the ROS-free tests on numpy 2, in a second virtual environment
	@tools/test_numpy2.sh

lint: setup ## ruff, mypy and the layer contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff mend style and order of imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove everything that the other targets made
	rm -rf .venv .venv-numpy2 build install log out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
