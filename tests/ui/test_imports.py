"""The order of ui's folders: each imports only those before it, and QGIS's libraries."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "ui"
# What each may import of ui, beside itself.
ALLOWED = {
    "errors": set(),
    "plain_text": set(),
    "settings": set(),
    "translation": set(),
    "messages": {"errors", "plain_text", "translation"},
    "drawing": {"errors", "translation"},
    "engine": {"errors", "messages", "settings", "translation"},
    "layers": {"drawing", "errors", "translation"},
    "processing": {"drawing", "engine", "errors", "layers", "plain_text", "settings", "translation"},
    "dock": {"drawing", "engine", "errors", "layers", "messages", "plain_text", "settings", "translation"},
}
FILES = sorted(path for path in UI.rglob("*.py") if path.name != "__init__.py")


def imported(path):
    """Absolute names that a file imports; the plugin's own begin with ``exemplar``."""
    package = ("exemplar", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def modules(path):
    """The files of ui that a file imports."""
    for name in imported(path):
        parts = name.split(".")
        if parts[:2] == ["exemplar", "ui"]:
            for end in (len(parts), len(parts) - 1):
                file = UI.joinpath(*parts[2:end]).with_suffix(".py")
                if file.is_file():
                    yield file
                    break
            else:
                raise AssertionError(f"{path} imports {name}, which is no file")


def test_all_rooms_are_listed():
    assert {path.relative_to(UI).parts[0].removesuffix(".py") for path in FILES} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(UI)))
def test_a_file_imports_its_own_folder_and_those_before_it(path):
    own = path.relative_to(UI).parts[0].removesuffix(".py")
    others = {file.relative_to(UI).parts[0].removesuffix(".py") for file in modules(path)} - {own}
    assert others <= ALLOWED[own]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python does not list its own library")
@pytest.mark.parametrize(
    "path", [ROOT / "__init__.py", ROOT / "plugin.py", *FILES], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_file_imports_qgis_the_standard_library_and_the_protocol_only(path):
    names = set(imported(path))
    own = {name for name in names if name.startswith("exemplar.")}
    assert {name.split(".")[0] for name in names - own} <= {*sys.stdlib_module_names, "qgis", "osgeo"}
    ours = ("exemplar.ui.", "exemplar.core.protocol", "exemplar.core.parameters", "exemplar.plugin")
    assert all(name.startswith(ours) for name in own)


def test_no_file_imports_itself_by_way_of_others():
    finished, under_way = set(), []

    def visit(path):
        assert path not in under_way, [str(file.relative_to(UI)) for file in [*under_way, path]]
        if path in finished:
            return
        under_way.append(path)
        for file in modules(path):
            visit(file)
        finished.add(under_way.pop())

    for path in FILES:
        visit(path)


def test_packages_hold_one_line():
    assert all(len(path.read_text(encoding="utf-8").splitlines()) == 1 for path in UI.rglob("__init__.py"))
