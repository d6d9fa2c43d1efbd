"""What the public headers declare: constants, structs and functions, in the order they are written.

The headers keep to a small C: anonymous enums whose values are written out, structs as `typedef struct x {…} x;`,
functions marked SPEFT_API. That is all that is read here; the compiler judges the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:.*\\\n)*.*$", re.MULTILINE)
ENUM = re.compile(r"\benum\s*\{(.*?)\}\s*;", re.DOTALL)
VERSION = re.compile(r"^#define\s+(SPEFT_\w*ABI_VERSION)\b", re.MULTILINE)
STRUCT = re.compile(r"\btypedef\s+struct\s+(\w+)\s*\{(.*?)\}\s*\1\s*;", re.DOTALL)
FUNCTION = re.compile(r"\bSPEFT_API\s+([^;{]*?)\b(\w+)\s*\(([^;]*)\)\s*;", re.DOTALL)
POINTER_TO_FUNCTION = re.compile(r"\(\s*\*\s*(\w+)\s*\)\s*\(")
DECLARATOR = re.compile(r"(\w+)\s*(?:\[[^\]]*\])?$")


@dataclass(frozen=True)
class Field:
    name: str
    declaration: str


@dataclass(frozen=True)
class Struct:
    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Function:
    name: str
    result: str
    parameters: str

    def __str__(self) -> str:
        space = "" if self.result.endswith("*") else " "
        return f"{self.result}{space}{self.name}({self.parameters})"


@dataclass(frozen=True)
class Header:
    path: Path
    constants: tuple[str, ...]
    structs: tuple[Struct, ...]
    functions: tuple[Function, ...]


def strip(text: str) -> str:
    """The text without comments and preprocessor lines, its line numbers kept."""

    def keep_lines(found: re.Match[str]) -> str:
        return "\n" * found.group().count("\n")

    return DIRECTIVE.sub(keep_lines, COMMENT.sub(keep_lines, text))


def squeeze(text: str) -> str:
    """One space between words, none inside brackets: a prototype as one comparable line."""
    text = re.sub(r"\s*([(,)])\s*", r"\1", " ".join(text.split()))
    return re.sub(r"(\w)\(\*", r"\1 (*", text).replace(",", ", ")


def read_fields(body: str) -> tuple[Field, ...]:
    """The declarations between a struct's braces, one a name: `float a, b;` is two."""
    fields: list[Field] = []
    for declaration in filter(None, (squeeze(part) for part in body.split(";"))):
        pointer = POINTER_TO_FUNCTION.search(declaration)
        if pointer:
            fields.append(Field(pointer.group(1), declaration))
            continue
        first, *others = declaration.split(", ")
        for text in [first, *others]:
            found = DECLARATOR.search(text)
            if not found:
                raise ValueError(f"not a field: {declaration}")
            if text is first:
                kind = first[: found.start()]
            fields.append(Field(found.group(1), kind + found.group()))
    return tuple(fields)


def read_header(path: Path) -> Header:
    text = path.read_text(encoding="utf-8")
    code = strip(text)
    constants = [name for name in VERSION.findall(text)]
    for body in ENUM.findall(code):
        constants += [part.split("=")[0].strip() for part in body.split(",") if part.strip()]
    structs = tuple(Struct(name, read_fields(body)) for name, body in STRUCT.findall(code))
    functions = tuple(
        Function(name, squeeze(result), squeeze(parameters))
        for result, name, parameters in FUNCTION.findall(code)
    )
    return Header(path, tuple(constants), structs, functions)


def read_headers(folder: Path) -> list[Header]:
    """All headers of `folder`, by name. A folder without any is an error: nothing would be checked."""
    headers = [read_header(path) for path in sorted(folder.glob("*.h"))]
    if not headers:
        raise FileNotFoundError(f"there is no header in {folder}")
    return headers
