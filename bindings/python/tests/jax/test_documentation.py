"""What a reader is shown runs, and all that is public is documented."""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft.jax


@pytest.mark.parametrize("documented", [speft.jax, speft.jax.SparseAdapter], ids=["module", "class"])
def test_the_example_in_the_documentation_runs(documented, random, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"::\n\n((?:    .*\n|\n)+)", inspect.getdoc(documented) + "\n").group(1)

    def matrix(*shape):
        return jnp.array(random.standard_normal(shape, dtype=np.float32) / 8)

    def loss(params, batch):
        for layer in params["layers"]:
            batch = jax.nn.relu(speft.jax.linear(batch, layer["kernel"], layer["bias"]))
        return ((batch @ params["head"]["w"]) ** 2).mean()

    batches = [matrix(16, 64) for _ in range(3)]
    params = {
        "layers": [{"kernel": matrix(64, 64), "bias": matrix(64)} for _ in range(2)],
        "head": {"w": matrix(64, 2)},
    }
    before = float(loss(params, batches[0]))
    names = {
        **vars(speft.jax),
        "functools": __import__("functools"),
        "jax": jax,
        "loss": loss,
        "params": params,
        "estimation_batches": batches,
        "training_batches": batches * 5,
    }
    exec(inspect.cleandoc(code), names)
    assert names["adapter"].info.steps == 15
    if documented is speft.jax:  # which loads what it has saved
        assert float(loss(names["params"], batches[0])) < before


def test_everything_public_has_a_docstring():
    missing = []
    for name in speft.jax.__all__:
        public = getattr(speft.jax, name)
        members = vars(public).items() if inspect.isclass(public) else ()
        named = [
            (name, public),
            *((f"{name}.{member}", value) for member, value in members if member[0] != "_"),
        ]
        missing += [
            name
            for name, value in named
            if (callable(value) or isinstance(value, (property, classmethod))) and not inspect.getdoc(value)
        ]
    assert missing == []


def test_the_example_of_the_readme_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).resolve().parents[4] / "README.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"<!-- test: jax-example -->\n```python\n(.*?)```", readme, re.DOTALL).group(1), names)
    assert names["value"] < names["loss"](names["params"], names["x"]) / 2  # unmerged again by then
    assert (tmp_path / "adapter.safetensors").is_file()
