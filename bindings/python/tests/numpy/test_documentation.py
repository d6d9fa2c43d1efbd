"""The package as a reader meets it: documented, typed, and complete over the C API."""

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import speft

ROOT = Path(__file__).resolve().parents[4]


def public_members():
    for name in speft.__all__:
        value = getattr(speft, name)
        yield name, value
        if inspect.isclass(value):
            for member, object in vars(value).items():
                if not member.startswith("_") and (
                    callable(object) or isinstance(object, (property, classmethod))
                ):
                    yield f"{name}.{member}", object


def test_everything_public_has_a_docstring():
    undocumented = [
        name
        for name, value in public_members()
        if (callable(value) or isinstance(value, (property, classmethod))) and not inspect.getdoc(value)
    ]
    assert undocumented == []


def test_help_teaches():
    text = pydoc.plain(pydoc.render_doc(speft))
    for word in ("density", "finish_observation", "class Adapter", "class InvalidArgument"):
        assert word in text


def test_importing_needs_no_array_library():
    program = (
        "import sys, speft; assert not {'numpy', 'torch', 'jax'} & set(sys.modules); print(speft.__version__)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == speft.__version__


def test_package_is_marked_as_typed():
    assert (Path(speft.__file__).parent / "py.typed").is_file()


def test_every_function_of_the_c_api_is_used():
    headers = (ROOT / "capi" / "include" / "speft").glob("*.h")
    declared = {
        name
        for header in headers
        if header.name != "backend.h"
        for name in re.findall(r"SPEFT_API[^;(]*?\b(speft_\w+)\(", header.read_text())
    }
    assert len(declared) > 50  # the pattern still matches
    package = Path(speft.__file__).parent
    python = "\n".join(path.read_text() for path in package.rglob("*.py") if path.name != "_capi.py")
    used = set(re.findall(r"\b_capi\.(speft_\w+)", python))
    # Structs with an _init are made by it, handles are released by their capsules, errors become exceptions.
    used |= {
        f"{name}_init"
        for name in re.findall(r"^SPEFT_OPTIONS\((\w+)\)", interface("capi/swig/speft.i"), re.M)
    }
    objects = interface("bindings/python/native/objects.h")
    used |= {f"speft_destroy_{noun}" for noun in re.findall(r"^DEFINE_HANDLE\((\w+)\)", objects, re.M)}
    used |= set(re.findall(r"\b(speft_\w+)\(", objects + interface("bindings/python/native/native.i")))
    assert declared - used == set()


def interface(path):
    return (ROOT / path).read_text()
