"""An installed libspeft as its users find it: by CMake's find_package and by pkg-config, shared and static, moved.

SPEFT_ROOT is the installed tree, build/installed without it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("SPEFT_ROOT", REPOSITORY / "build" / "installed"))
CONSUMER = Path(__file__).resolve().parent / "consumer"
SOURCES = [CONSUMER / "main.c", CONSUMER / "life.c"]
NEEDED = re.compile(r"\(NEEDED\)[^\[]*\[([^\]]+)\]")


def run(*command: object, **environment: str) -> str:
    """What the command prints; its own words when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def read_needed(program: Path) -> set[str]:
    return set(NEEDED.findall(run("readelf", "--dynamic", "--wide", program)))


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed tree, somewhere else than where it was installed."""
    assert (ROOT / "include" / "speft" / "speft.h").is_file(), f"{ROOT} is no installed libspeft"
    moved = tmp_path_factory.mktemp("moved") / "libspeft"
    shutil.copytree(ROOT, moved, symlinks=True)
    return moved


@pytest.fixture(scope="session")
def cmake_programs(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The consumer's CMake project, built: the folder of its programs."""
    cmake = Path(sys.executable).with_name("cmake")
    build = tmp_path_factory.mktemp("consumer")
    run(cmake, "-S", CONSUMER, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Debug")
    run(cmake, "--build", build)
    return build


@pytest.mark.parametrize("program", ["c_speft", "cpp_speft", "c_static", "cpp_static"])
def test_find_package(cmake_programs: Path, program: str) -> None:
    assert run(cmake_programs / program) == "0.50 -0.25\n"


def test_a_static_c_program_needs_no_cpp_runtime(cmake_programs: Path) -> None:
    assert read_needed(cmake_programs / "c_speft") == {"libspeft.so.0", "libc.so.6"}
    needed = read_needed(cmake_programs / "c_static")
    assert needed <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}


def test_two_copies_in_one_process(cmake_programs: Path, prefix: Path) -> None:
    assert run(cmake_programs / "twice", prefix / "lib" / "libspeft.so.0") == "0.50 -0.25\n"


def pkg_config(prefix: Path, *options: str) -> list[str]:
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not on this machine (package pkg-config)")
    return run("pkg-config", *options, "speft", PKG_CONFIG_PATH=str(prefix / "lib" / "pkgconfig")).split()


def test_pkg_config_shared(prefix: Path, tmp_path: Path) -> None:
    program = tmp_path / "shared"
    run("cc", "-std=gnu11", *SOURCES, *pkg_config(prefix, "--cflags", "--libs"), "-o", program)
    assert "libspeft.so.0" in read_needed(program)
    assert run(program, LD_LIBRARY_PATH=str(prefix / "lib")) == "0.50 -0.25\n"


def test_pkg_config_archive(prefix: Path, tmp_path: Path) -> None:
    """The library inside, libc shared: the archive by its path, and -lm -lpthread -ldl alone."""
    program = tmp_path / "archive"
    archive = pkg_config(prefix, "--variable=archive")
    options = pkg_config(prefix, "--cflags")
    run("cc", "-std=gnu11", *SOURCES, *options, *archive, "-lm", "-lpthread", "-ldl", "-o", program)
    assert run(program) == "0.50 -0.25\n"


def test_pkg_config_static(prefix: Path, tmp_path: Path) -> None:
    """All inside, libc too. glibc warns that what it opens at run time still has to be of its own version."""
    program = tmp_path / "static"
    run("cc", "-std=gnu11", "-static", *SOURCES, *pkg_config(prefix, "--static", "--cflags", "--libs"), "-o", program)
    assert not read_needed(program)
    assert run(program) == "0.50 -0.25\n"


def test_the_notices_are_installed(prefix: Path) -> None:
    for name in ("LICENSE", "THIRD_PARTY_NOTICES.md"):
        installed = prefix / "share" / "doc" / "speft" / name
        assert installed.read_bytes() == (REPOSITORY / name).read_bytes()
