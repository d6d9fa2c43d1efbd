"""What is installed: all that the package needs, what licenses ask for, and nothing else."""

from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]
INSTALLED = {file.as_posix(): file for file in metadata.files("speft") or []}


def test_its_libraries_are_the_projects_own():
    libraries = {name for name in INSTALLED if ".so" in name}
    assert libraries == {
        "speft/_native.abi3.so",
        "speft/libspeft.so.0",
        "speft/libspeft_cpu.so",
        "speft/jax/libspeft_jax.so",
    }


def test_it_is_typed():
    assert "speft/py.typed" in INSTALLED


@pytest.mark.parametrize("name", ["LICENSE", "THIRD_PARTY_NOTICES.md"])
def test_licenses_come_with_it(name):
    (path,) = [path for path in INSTALLED if path.endswith(f".dist-info/licenses/{name}")]
    assert INSTALLED[path].read_text() == (REPOSITORY / name).read_text(encoding="utf-8")


def test_it_requires_no_other_package():
    assert all("extra ==" in requirement for requirement in metadata.requires("speft") or [])
