"""Where backends are found, and what is said where they are not."""

import os
import shutil
from pathlib import Path

import pytest

import speft
from speft import _plugins

PACKAGE = Path(speft.__file__).parent


def cuda():
    return next(backend for backend in speft.backends() if backend.name == "cuda")


@pytest.fixture
def nowhere(monkeypatch):
    """No CUDA backend, but for what a test puts somewhere."""
    if cuda().available:
        pytest.skip("the CUDA backend has been loaded, and stays")
    if (PACKAGE / "libspeft_cuda.so").exists():
        pytest.skip("the CUDA backend lies beside libspeft")
    monkeypatch.delenv("SPEFT_BACKEND_PATH", raising=False)
    monkeypatch.setattr(_plugins, "find_spec", lambda name: None)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs speft-cu13 with some library: importing it would raise."""

    def install(version, library=b""):
        monkeypatch.undo()
        monkeypatch.delenv("SPEFT_BACKEND_PATH", raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        folder = tmp_path / "speft_cu13"
        folder.mkdir()
        (folder / "__init__.py").write_text("raise RuntimeError('imported')")
        (folder / "libspeft_cuda.so").write_bytes(library)
        about = tmp_path / f"speft_cu13-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: speft-cu13\nVersion: {version}\n")
        return folder

    return install


def refusal(**options):
    with pytest.raises(speft.Unavailable) as caught:
        speft.Context("cuda", **options)
    return str(caught.value)


def test_a_missing_backend_is_one_sentence_that_says_what_has_it(nowhere):
    where = f"there is no libspeft_cuda.so in {PACKAGE}; the package speft-cu13 has it"
    assert refusal() == f"backend 'cuda' is not available: {where}"
    assert cuda() == speft.Backend("cuda", False, "", where)


def test_all_folders_that_were_searched_are_named(nowhere, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("SPEFT_BACKEND_PATH", str(second))
    expected = f"backend 'cuda' is not available: there is no libspeft_cuda.so in {first}, {second}, {PACKAGE}"
    assert refusal(backend_path=str(first)) == expected


def test_a_library_that_is_broken_is_named_and_no_other_folder(nowhere, tmp_path):
    (tmp_path / "libspeft_cuda.so").write_bytes(b"no library")
    message = refusal(backend_path=str(tmp_path))
    assert str(tmp_path / "libspeft_cuda.so") in message
    assert "there is no" not in message


def test_a_library_that_is_another_backend_is_named(nowhere, tmp_path):
    if not (PACKAGE / "libspeft_cpu.so").exists():
        pytest.skip("the CPU backend is linked in")
    shutil.copy(PACKAGE / "libspeft_cpu.so", tmp_path / "libspeft_cuda.so")
    assert f"{tmp_path / 'libspeft_cuda.so'} is the backend 'cpu'" in refusal(backend_path=str(tmp_path))


def test_the_package_of_the_backend_is_found_and_not_imported(nowhere, package):
    folder = package(speft.__version__)
    assert _plugins.find_cuda_backend() == (str(folder), "")
    message = refusal()  # which has looked into it
    assert str(folder / "libspeft_cuda.so") in message
    assert "speft-cu13" not in message
    assert str(folder / "libspeft_cuda.so") in cuda().reason


def test_a_package_of_another_version_is_refused_with_both(nowhere, package):
    package("0.0.7")
    told = f"speft-cu13 is of version 0.0.7, and speft {speft.__version__}: install the same of both"
    assert refusal().endswith(f"; {told}")
    assert cuda().reason.endswith(f"; {told}")


def test_what_libspeft_finds_by_itself_comes_before_the_package(nowhere, package, tmp_path, monkeypatch):
    package("0.0.7")
    own = tmp_path / "own"
    own.mkdir()
    (own / "libspeft_cuda.so").write_bytes(b"no library")
    monkeypatch.setenv("SPEFT_BACKEND_PATH", os.pathsep.join([str(tmp_path), str(own)]))
    message = refusal()
    assert str(own / "libspeft_cuda.so") in message
    assert "speft-cu13" not in message


def test_the_cpu_is_chosen_where_there_is_nothing_else(nowhere):
    assert speft.Context().backend == speft.Context("auto").backend == "cpu"
