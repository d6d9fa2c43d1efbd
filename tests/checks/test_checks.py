"""Each check accepts what is right and names what is wrong: a check that cannot fail checks nothing."""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "abi"))

import arrows  # noqa: E402
import callers  # noqa: E402
import declarations  # noqa: E402
import dependencies  # noqa: E402
import exports  # noqa: E402
import headers  # noqa: E402
import layout  # noqa: E402
import names  # noqa: E402

GOOD_TREE = {
    "capi/include/speft/status.h": "#include <stdint.h>\n",
    "capi/include/speft/backend.h": '#include "status.h"\n',
    "capi/src/edge.cpp": '#include "core/adapter/adapter.h"\n#include "capi/src/guard.h"\n',
    "capi/src/guard.h": '#include "core/base/status.h"\n',
    "core/adapter/adapter.h": '#include "core/base/status.h"\n#include "speft/backend.h"\n',
    "core/base/status.h": '#include "speft/status.h"\n#include "scalar.h"\n',
    "core/base/scalar.h": "#include <cstdint>\n",
    "backends/cpu/plugin.cpp": '#include "backends/cpu/sum.h"\n#include "core/base/scalar.h"\n',
    "backends/cpu/product.cpp": "#include <dnnl.h>\n",
    "backends/cpu/sum.h": '#include "speft/backend.h"\n',
    "backends/cuda/stream.cpp": "#include <cuda_runtime.h>\n",
    "bindings/python/speft.i": '%include "speft/status.h"\n#include <Python.h>\n',
    "tests/capi/life.c": '#include <speft/status.h>\n#include "check.h"\n',
    "tests/capi/check.h": "",
}

BAD_ARROWS = {
    "a header that looks into the core": ("capi/include/speft/x.h", '#include "core/base/status.h"'),
    "an edge that looks into a backend": ("capi/src/x.cpp", '#include "backends/cpu/sum.h"'),
    "a core that looks at the edge": ("core/adapter/x.cpp", '#include "capi/src/guard.h"'),
    "a core that looks into a backend": ("core/selection/x.h", '#include "backends/cpu/sum.h"'),
    "a base that looks up": ("core/base/x.h", '#include "core/adapter/adapter.h"'),
    "a base that looks up by a relative path": ("core/base/x.h", '#include "../adapter/adapter.h"'),
    "a core that touches a device": ("core/adapter/x.cpp", "#include <cuda_runtime.h>"),
    "a core that knows a language": ("core/adapter/x.cpp", "#include <Python.h>"),
    "a backend that looks into the core": ("backends/cpu/x.cpp", '#include "core/adapter/adapter.h"'),
    "a backend that looks into another": ("backends/cuda/x.cu", '# include "backends/cpu/sum.h"'),
    "a binding that looks into the core": ("bindings/python/x.cpp", '#include "core/base/status.h"'),
    "a binding that imports the edge": ("bindings/python/x.i", '%import "capi/src/guard.h"'),
    "a binding that is an author of backends": ("bindings/rust/x.h", '#include "speft/backend.h"'),
    "a C caller that looks inside": ("tests/capi/x.c", '#include "core/base/scalar.h"'),
    "a C caller that is an author of backends": ("tests/capi/x.c", "#include <speft/backend.h>"),
    "a file that is not there": ("core/adapter/x.cpp", '#include "core/adapter/missing.h"'),
}

GOOD_HEADER = """/* What it is for. */
#include <stdint.h>
#include "export.h"

/* A CUDA stream and a std::thread, in a comment. */
typedef struct speft_thing {
    uint32_t struct_size;
    float first, second;
    const char *const *names;
    int32_t (*report)(void *user, int64_t done);
} speft_thing;

enum { SPEFT_ONE = 1, /* a comma, in a comment */ SPEFT_TWO = 2 };

/* Does something. */
SPEFT_API speft_status speft_do(speft_thing *thing,
                                speft_error **error);
SPEFT_API speft_status speft_do_more(speft_error **error);

SPEFT_API void speft_thing_init(speft_thing *thing, uint32_t size);
"""

BAD_HEADERS = {
    "no comment tells what speft_do is": ("/* Does something. */\n", ""),
    "no comment tells what speft_thing is": ("/* A CUDA stream and a std::thread, in a comment. */\n", ""),
    "'int' has no fixed width": ("int32_t (*report)", "int (*report)"),
    "'size_t' has no fixed width": ("uint32_t size)", "size_t size)"),
    "'bool' has no fixed width": ("float first", "bool first"),
    "'enum colour' has no fixed width": ("float first", "enum colour first"),
    "includes <cuda_runtime.h>": ("<stdint.h>", "<cuda_runtime.h>"),
    "'cudaStream_t' is no C of ours": ("void *user", "cudaStream_t user"),
    "'std::' is no C of ours": ("float first", "std::string first"),
    "speft_do returns a status": (",\n                                speft_error **error", ""),
    "struct speft_thing does not begin with": ("    uint32_t struct_size;\n", ""),
}


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class ArrowsTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name).resolve()
        plant(self.root, GOOD_TREE)

    def test_the_good_tree_passes(self) -> None:
        self.assertEqual(arrows.check_tree(self.root), [])

    def test_each_bad_arrow_is_named(self) -> None:
        for what, (name, line) in BAD_ARROWS.items():
            with self.subTest(what):
                plant(self.root, {name: f"#include <stdint.h>\n{line}\n"})
                failures = arrows.check_tree(self.root)
                self.assertEqual(len(failures), 1, failures)
                self.assertTrue(failures[0].startswith(f"{name}:2: "), failures[0])
                (self.root / name).unlink()

    def test_an_empty_tree_is_no_success(self) -> None:
        self.assertNotEqual(arrows.check_tree(self.root / "core/base/nothing"), [])


class HeadersTest(unittest.TestCase):
    def test_the_good_header_passes(self) -> None:
        self.assertEqual(headers.check_text("thing.h", GOOD_HEADER), [])

    def test_each_flaw_is_named(self) -> None:
        for message, (old, new) in BAD_HEADERS.items():
            with self.subTest(message):
                self.assertEqual(GOOD_HEADER.count(old), 1)
                failures = headers.check_text("thing.h", GOOD_HEADER.replace(old, new))
                self.assertTrue(any(message in failure for failure in failures), failures)

    def test_a_header_that_leans_on_another_does_not_compile_alone(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            plant(Path(scratch), {"lean.h": "extern int32_t number;\n"})
            failures = headers.compile_alone("lean.h", Path(scratch), {"c": "cc", "c++": "c++"})
            self.assertEqual(len(failures), 2)


class DeclarationsTest(unittest.TestCase):
    def setUp(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            plant(Path(scratch), {"thing.h": GOOD_HEADER})
            self.header = declarations.read_headers(Path(scratch))[0]

    def test_constants_structs_and_functions_are_found(self) -> None:
        self.assertEqual(self.header.constants, ("SPEFT_ONE", "SPEFT_TWO"))
        self.assertEqual([function.name for function in self.header.functions],
                         ["speft_do", "speft_do_more", "speft_thing_init"])
        self.assertEqual(str(self.header.functions[0]),
                         "speft_status speft_do(speft_thing *thing, speft_error **error)")
        (thing,) = self.header.structs
        self.assertEqual([field.declaration for field in thing.fields],
                         ["uint32_t struct_size", "float first", "float second", "const char *const *names",
                          "int32_t (*report)(void *user, int64_t done)"])

    def test_no_header_is_an_error(self) -> None:
        with tempfile.TemporaryDirectory() as scratch, self.assertRaises(FileNotFoundError):
            declarations.read_headers(Path(scratch))

    def test_the_layout_program_prints_every_declaration(self) -> None:
        program = layout.make_program([self.header])
        for part in ["constant SPEFT_TWO", "struct speft_thing size", "offsetof(speft_thing, second)",
                     "function speft_status speft_do_more(speft_error **error)"]:
            self.assertIn(part, program)


class CallersTest(unittest.TestCase):
    def test_what_is_not_called_is_named(self) -> None:
        program = "speft_step(adapter); /* speft_merge(adapter) */ give(speft_observe);"
        self.assertEqual(callers.find_uncalled(["speft_step", "speft_observe"], program), [])
        self.assertEqual(callers.find_uncalled(["speft_step", "speft_merge", "speft_ste"], program),
                         ["speft_merge", "speft_ste"])


class NamesTest(unittest.TestCase):
    def test_what_must_not_be_named_is_found(self) -> None:
        registry = "https://pypi" + ".org/simple"
        machine = "/home" + "/someone/model"
        self.assertEqual(names.check_text("a", "a relative/path, /usr/include and PyPI by name\n"), [])
        failures = names.check_text("a", f"fine\nuse {registry}\nfrom {machine}\n")
        self.assertEqual([failure.split(":")[1] for failure in failures], ["2", "3"])


class AbiTest(unittest.TestCase):
    def test_exports_that_differ_are_named(self) -> None:
        self.assertEqual(exports.compare({"a", "b"}, {"a", "b"}, "here", "there"), [])
        self.assertEqual(exports.compare({"a", "b"}, {"b", "c"}, "here", "there"),
                         ["a: in here, not in there", "c: in there, not in here"])

    def test_only_the_c_library_is_allowed(self) -> None:
        for name in ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2"]:
            self.assertTrue(dependencies.ALLOWED.fullmatch(name), name)
        for name in ["libstdc++.so.6", "libgcc_s.so.1", "libgomp.so.1", "libcuda.so.1", "libcrypto.so.3"]:
            self.assertFalse(dependencies.ALLOWED.fullmatch(name), name)


if __name__ == "__main__":
    unittest.main()
