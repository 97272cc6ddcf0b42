"""The product knows nothing of the laboratory."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import s2mnet


def imported(source: str) -> Iterator[str]:
    """Every module that a source file imports, anywhere in it, or loads by a literal name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


@pytest.mark.parametrize(
    "source",
    [
        "import s2mnet_lab",
        "def f():\n    from s2mnet_lab.markdown import table",
        "from .. import s2mnet_lab",
        "import importlib\nimportlib.import_module('s2mnet_lab.bench')",
    ],
)
def test_imports_are_seen_wherever_they_are(source: str) -> None:
    assert any("s2mnet_lab" in name for name in imported(source))


def test_nothing_in_the_product_imports_the_laboratory() -> None:
    files = sorted(Path(s2mnet.__file__).parent.rglob("*.py"))
    assert len(files) > 50
    guilty = [str(file) for file in files if any("s2mnet_lab" in name for name in imported(file.read_text()))]
    assert not guilty


def test_only_the_command_line_knows_the_export() -> None:
    package = Path(s2mnet.__file__).parent
    files = [file for file in sorted(package.rglob("*.py")) if file.parent.name != "exporting"]
    users = [file.name for file in files if any("s2mnet.exporting" in name for name in imported(file.read_text()))]
    assert users == ["cli.py"]
