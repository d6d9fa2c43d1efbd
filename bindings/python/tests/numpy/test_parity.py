"""What C did, done again: the cases that tests/parity/record writes, see its README."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import speft

DTYPES = {"float32": np.float32, "bfloat16": np.uint16, "float16": np.float16}


def find_cases() -> list[Path]:
    """The folders of the cases; none where SPEFT_PARITY_CASES is not set."""
    folder = os.environ.get("SPEFT_PARITY_CASES")
    if folder is None:
        return []
    cases = sorted(path.parent for path in Path(folder).glob("*/case.txt"))
    assert cases, f"SPEFT_PARITY_CASES: {folder} has no cases"
    return cases


class Player:
    """Plays one case: a method a command."""

    def __init__(self, folder: Path, scratch: Path):
        self.folder, self.scratch = folder, scratch
        self.parameters: list[speft.Parameter] = []
        self.options: dict = {}
        self.weights: dict[int, np.ndarray] = {}
        self.codes: dict[int, speft.QuantizedTensor] = {}
        self.bases: dict[int, speft.Basis] = {}

    def play(self) -> None:
        for line in (self.folder / "case.txt").read_text().splitlines():
            command, *words = line.split(" ")
            options = dict(word.split("=", 1) for word in words if "=" in word)
            plain = [word for word in words if "=" not in word]
            getattr(self, "do_" + command.replace("-", "_"))(*plain, **options)

    # ---- arrays ----

    def array(self, file: str, dtype) -> np.ndarray:
        return np.fromfile(self.folder / file, dtype)

    def scalars(self, position: int, file: str, shape: tuple[int, ...] | None = None):
        """An array of the parameter's type, and of its shape unless another is given."""
        parameter = self.parameters[position]
        array = self.array(file, DTYPES[parameter.dtype]).reshape(shape or parameter.shape)
        return array, speft.bfloat16(array) if parameter.dtype == "bfloat16" else array

    def contribution(self, position: int, form: str, *files: str, **options: str) -> dict:
        if form == "dense":
            return {"dense": self.scalars(position, *files)[1]}
        if form == "values":
            return {"values": self.array(*files, np.float32)}
        assert form == "activations"
        tokens, (rows, columns) = int(options.pop("tokens")), self.parameters[position].shape
        made = {
            "x": self.scalars(position, options.pop("x"), (tokens, columns))[1],
            "dy": self.scalars(position, options.pop("dy"), (tokens, rows))[1],
            "scale": float(options.pop("scale")),
            "layout": options.pop("layout"),
        }
        if "example_offsets" in options:
            made["example_offsets"] = self.array(options.pop("example_offsets"), np.int64)
        assert not options
        return made

    def bind(self) -> None:
        for position, array in self.weights.items():
            bits = self.parameters[position].dtype == "bfloat16"
            self.adapter.bind_weights(position, speft.bfloat16(array) if bits else array)
        for position, quantized in self.codes.items():
            self.adapter.bind_weights(position, quantized)

    # ---- commands ----

    def do_context(self, *, threads: str) -> None:
        self.context = speft.Context("cpu", threads=int(threads))

    def do_parameter(self, *, name: str, role: str, dtype: str, shape: str) -> None:
        sizes = tuple(int(size) for size in shape.split(","))
        self.parameters.append(speft.Parameter(name, sizes, dtype, role))

    def do_selection(self, **given: str) -> None:
        kinds = {
            "density": float,
            "budget": int,
            "rank": int,
            "model_scalars": int,
            "approximation_rank": int,
            "threshold": float,
        }
        self.options |= {
            "selection": given.pop("method"),
            "scope": given.pop("scope"),
            "random": given.pop("random"),
            "mean": given.pop("mean"),
            "seed": int(given.pop("seed")),
        }
        self.options |= {name: kind(given.pop(name)) or None for name, kind in kinds.items()}
        assert not given

    def do_schedule(self, **given: str) -> None:
        kinds = {
            "total_steps": int,
            "reselect_every": int,
            "window": int,
            "rate": float,
            "candidates": int,
            "settled_limit": int,
            "keep_moments": lambda word: bool(int(word)),
            "track_moves": lambda word: bool(int(word)),
        }
        schedule, drop = given.pop("schedule"), given.pop("drop")
        self.options |= {"schedule": None if schedule == "default" else schedule, "drop": drop}
        self.options |= {name: kind(given.pop(name)) or None for name, kind in kinds.items()}
        assert not given

    def do_optimizer(self, *, kind: str, age: str, state: str, delta_type: str) -> None:
        self.options |= {"optimizer": kind, "age": age, "state": state, "delta_type": delta_type}

    def do_create(self) -> None:
        self.adapter = speft.Adapter(self.context, self.parameters, **self.options)

    def do_bind(self, position: str, file: str) -> None:
        self.weights[int(position)] = self.scalars(int(position), file)[0]
        self.bind()

    def do_bind_quantized(
        self,
        position: str,
        *,
        kind: str,
        block: str,
        absmax_block: str,
        codes: str,
        absmax: str,
        **twice: str,
    ) -> None:
        parameter = self.parameters[int(position)]
        values = self.array(codes, np.int8 if kind == "int8" else np.uint8)
        self.codes[int(position)] = speft.QuantizedTensor(
            kind,
            values.reshape(parameter.shape) if kind == "int8" else values,
            self.array(absmax, np.uint8 if twice else np.float32),
            int(block),
            **{name: self.array(file, np.float32) for name, file in twice.items()},
            absmax_block=int(absmax_block),
            shape=parameter.shape,
            dtype=parameter.dtype,
        )
        self.bind()

    def do_mask(self, position: str, file: str) -> None:
        self.adapter.set_mask(int(position), self.array(file, np.int64))

    def do_scores(self, position: str, file: str) -> None:
        shape = self.parameters[int(position)].shape
        self.adapter.set_scores(int(position), self.array(file, np.float32).reshape(shape))

    def do_reference(self, position: str, file: str) -> None:
        self.adapter.set_reference(int(position), self.scalars(int(position), file)[1])

    def do_basis(self, position: str, *, row_directions: str, column_directions: str) -> None:
        rows, columns = self.parameters[int(position)].shape
        self.bases[int(position)] = speft.Basis(
            self.context,
            rows,
            columns,
            row_directions=int(row_directions),
            column_directions=int(column_directions),
        )

    def do_observe_basis(self, position: str, form: str, *files: str, **options: str) -> None:
        self.bases[int(position)].observe(**self.contribution(int(position), form, *files, **options))

    def do_fit_basis(self, position: str) -> None:
        self.bases[int(position)].fit()

    def do_bind_basis(self, position: str) -> None:
        self.adapter.bind_basis(int(position), self.bases[int(position)])

    def do_begin(self, weight: str) -> None:
        self.adapter.begin_observation(float(weight))

    def do_observe(self, position: str, form: str, *files: str, **options: str) -> None:
        self.adapter.observe(int(position), **self.contribution(int(position), form, *files, **options))

    def do_finish(self, weight: str) -> None:
        self.adapter.finish_observation(float(weight))

    def do_select(self) -> None:
        self.adapter.select()

    def do_accumulate(self, position: str, form: str, *files: str, **options: str) -> None:
        self.adapter.accumulate(int(position), **self.contribution(int(position), form, *files, **options))

    def do_clip(self, max_norm: str) -> None:
        self.adapter.clip_gradient(float(max_norm))

    def do_step(self, *, beta1: str, beta2: str, decay: str, **given: str) -> None:
        numbers = {name: float(given.pop(name)) for name in ("lr", "eps", "weight_decay", "momentum")}
        assert not given
        self.adapter.step(speft.Hyperparameters(betas=(float(beta1), float(beta2)), decay=decay, **numbers))

    def do_reselect(self) -> None:
        self.adapter.reselect()

    def do_attach(self) -> None:
        self.adapter.attach()

    def do_merge(self) -> None:
        self.adapter.merge()

    def do_unmerge(self) -> None:
        self.adapter.unmerge()

    def do_reload(self, format: str) -> None:
        self.adapter.unmerge()
        self.adapter.save(self.scratch / "adapter.safetensors", format=format)
        self.adapter.close()
        self.adapter = speft.Adapter.load(self.context, self.scratch / "adapter.safetensors")
        self.bind()
        self.adapter.merge()

    def do_checkpoint(self) -> None:
        self.adapter.save_checkpoint(self.scratch / "checkpoint.safetensors")
        self.adapter.close()
        self.adapter = speft.Adapter.load_checkpoint(self.context, self.scratch / "checkpoint.safetensors")
        self.bind()
        self.adapter.merge()

    # ---- what has to be there ----

    def do_expect_mask(self, position: str, file: str) -> None:
        assert np.from_dlpack(self.adapter.mask(int(position))).tobytes() == self.array(file, "b").tobytes()

    def do_expect_moved(self, position: str, which: str, file: str) -> None:
        moved = getattr(self.adapter, which)(int(position))
        assert np.from_dlpack(moved).tobytes() == self.array(file, "b").tobytes()

    def do_expect_deltas(self, position: str, file: str) -> None:
        deltas = self.adapter.deltas(int(position))
        deltas = deltas.bits if deltas.dtype == "bfloat16" else deltas
        assert np.from_dlpack(deltas).tobytes() == self.array(file, "b").tobytes()

    def do_expect_weights(self, position: str, file: str) -> None:
        assert self.weights[int(position)].tobytes() == self.array(file, "b").tobytes()

    def do_expect_gradient(self, position: str, file: str) -> None:
        gradient = np.from_dlpack(self.adapter.gradient(int(position)))
        assert gradient.tobytes() == self.array(file, "b").tobytes()

    def do_expect_quantized(self, position: str, **files: str) -> None:
        for name, file in files.items():
            assert getattr(self.codes[int(position)], name).tobytes() == self.array(file, "b").tobytes(), name

    def do_expect_requantization(
        self, position: str, *, deltas: str, changed: str, relative_error: str
    ) -> None:
        expected = speft.Requantization(int(deltas), int(changed), float(relative_error))
        assert self.adapter.measure_requantization(int(position)) == expected

    def do_expect_basis(self, position: str, *, u: str, v: str) -> None:
        for matrix, file in zip(self.bases[int(position)].matrices(), (u, v), strict=True):
            assert np.from_dlpack(matrix).tobytes() == self.array(file, "b").tobytes()

    def do_expect_linear(self, position: str, *, tokens: str, x: str, y: str) -> None:
        outputs, inputs = self.parameters[int(position)].shape
        given = self.scalars(int(position), x, (int(tokens), inputs))[1]
        array = np.empty((int(tokens), outputs), DTYPES[self.parameters[int(position)].dtype])
        bits = self.parameters[int(position)].dtype == "bfloat16"
        self.adapter.linear_forward(int(position), given, speft.bfloat16(array) if bits else array)
        assert array.tobytes() == self.array(y, "b").tobytes()


@pytest.mark.skipif("SPEFT_PARITY_CASES" not in os.environ, reason="SPEFT_PARITY_CASES: there are no cases")
@pytest.mark.parametrize("case", find_cases(), ids=lambda path: path.name)
def test_case(case, tmp_path):
    Player(case, tmp_path).play()
