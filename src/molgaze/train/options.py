"""Options of the command line for the settings of a run.

They are read from the source of the class ``Settings``, its fields, defaults and texts, so that
``molgaze train --help`` needs none of the packages that training needs.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """A field of a class of settings.

    Attributes:
        name: of the field.
        kind: its type, as it is written.
        default: its default; None if it has none or that is None.
        required: whether it has none.
        text: the sentences under it.
    """

    name: str
    kind: str
    default: Any
    required: bool
    text: str


def options_of(module: str) -> Iterator[Option]:
    """The fields of the class ``Settings`` of a module of this package, without importing it.

    Args:
        module: its name, such as ``fit``.
    """
    source = (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    (settings,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    for i, node in enumerate(settings.body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        text = ""
        below = settings.body[i + 1] if i + 1 < len(settings.body) else None
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            text = " ".join(str(below.value.value).split())
        default = None if node.value is None else ast.literal_eval(node.value)
        kind = ast.unparse(node.annotation)
        yield Option(node.target.id, kind, default, node.value is None, text)


_NUMBERS = {"int": (int, "N"), "float": (float, "X")}
_LISTS: dict[str, tuple[Any, str, str]] = {
    "tuple[Path, ...]": (Path, "+", "FILE"),
    "tuple[float, ...]": (float, "*", "X"),
}


def add_options(parser: argparse.ArgumentParser, module: str) -> None:
    """Add an option for each field of the settings of a module.

    Args:
        parser: takes the options; what is parsed has the names of the fields.
        module: its name, such as ``fit``.
    """
    for option in options_of(module):
        name = "--" + option.name.replace("_", "-")
        text = option.text.replace("%", "%%")
        if option.kind in _NUMBERS and not option.required:
            text += f" The default is {option.default:g}."
        elif option.kind == "str":
            text += f" The default is {option.default}."
        more: dict[str, Any] = {"required": option.required, "default": option.default}
        if option.kind in _NUMBERS:
            more["type"], more["metavar"] = _NUMBERS[option.kind]
        elif option.kind in _LISTS:
            more["type"], more["nargs"], more["metavar"] = _LISTS[option.kind]
        elif option.kind == "bool":
            more = {"action": "store_true"}
        elif option.name == "device":
            more["choices"] = ("cpu", "cuda")
        elif option.kind.startswith("Path"):
            more["type"], more["metavar"] = Path, "PATH"
        parser.add_argument(name, help=text, **more)
