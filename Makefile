# The two commands of the README, and what they are made of. All of it is safe to run again.
#
#   make demo                                  set-up, then the main job
#   make demo ALL=1                            … with every method
#   make demo DOMAIN=tweets                    … on other texts that come with it: movies, news, products, tweets
#   make demo DATA=file.tsv MODEL=directory OUT=directory    … on your own data and model (each is optional)
#   make reproduce                             set-up, then what the papers claim of the methods, run and judged
#   make basis                                 set-up, then whether gradients are sparse in a fitted basis
#   make demo-c                                set-up, then the same task in C, against an installed libspeft
#   make demo-cpp, demo-java, demo-jax, demo-rust    set-up, then the main job in another language; OUT=directory
#   make test                                  set-up, then all tests
#   make check                                 the quick ones, after a change
#   make bench                                 every operation against this machine's limits and against PyTorch
#   make test-cuda                             the tests that need a GPU; without one they are skipped
#   make bench-cuda                            the benchmarks on a GPU, likewise
#   make cuda-kit                              set-up, then what these two need, in build/cuda-kit/, for a machine without network
#   make wheel                                 the Python package as a wheel, audited and tested, in out/wheel/
#   make setup                                 what is missing on this machine: Debian packages, .venv, data, the build

# Read by the shell, so that any path is taken as it is.
export ALL DATA DOCUMENT DOMAIN MODEL OUT

.PHONY: help setup demo reproduce basis demo-c demo-cpp demo-java demo-jax demo-rust test check bench test-cuda bench-cuda cuda-kit wheel clean

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@tools/setup.sh

demo: setup
	@.venv/bin/python examples/python/sentiment/main.py $${ALL:+--all} \
		$${DATA:+--data "$$DATA"} $${DOMAIN:+--domain "$$DOMAIN"} $${MODEL:+--model "$$MODEL"} $${OUT:+--out "$$OUT"}

reproduce: setup
	@.venv/bin/python examples/python/reproduction/reproduce.py $${OUT:+--out "$$OUT"} $${DOCUMENT:+--document "$$DOCUMENT"}

basis: setup
	@.venv/bin/python examples/python/gradient_basis/main.py $${OUT:+--out "$$OUT"}

demo-c demo-cpp demo-java demo-jax demo-rust: setup
	@tools/$@.sh

test: setup
	@tools/test.sh

check: setup
	@tools/test.sh --quick

bench: setup
	@.venv/bin/python -m benchmarks $${OUT:+--out "$$OUT"}

cuda-kit: setup
	@tools/cuda-kit.sh

test-cuda:
	@tools/test-cuda.sh

bench-cuda:
	@tools/bench-cuda.sh $${OUT:+--out "$$OUT"}

wheel: setup
	@tools/wheel.sh

clean:
	rm -rf build .venv .cache out
