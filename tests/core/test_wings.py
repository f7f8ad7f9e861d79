"""What is loaded when, and how files are kept. Who may import whom is in pyproject.toml (import-linter)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "torch", "torchvision", "rasterio", "shapely", "geopandas", "pandas", "pyogrio", "segment_anything",
    "timm", "safetensors", "scipy", "affine",
}  # fmt: skip
HOUSE = {"core", "ui", "research", "tests", "plugin"}
FOLDERS = ("core", "ui", "tests", "research", "release")
OURS = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
OURS += sorted(ROOT.glob("*.py"))
OURS = [path for path in OURS if "__pycache__" not in path.parts]


def name_of(path):
    return str(path.relative_to(ROOT))


def test_the_roots_init_imports_nothing_of_the_house_at_its_top():
    path = ROOT / "__init__.py"
    top = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    for node in top:
        assert not (isinstance(node, ast.ImportFrom) and node.level), "it breaks pytest's collection"
    assert not {alias.name.split(".")[0] for node in top for alias in node.names} & HOUSE


def test_no_package_marker_below_tests():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def python(*arguments):
    """Run this Python isolated from the folder it stands in and from the user's settings."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT)


LOADED = "print(*sorted({name.split('.')[0] for name in sys.modules} - before))"


def test_the_protocol_loads_the_standard_library_only():
    code = f"import sys; before = set(sys.modules); sys.path.insert(0, {str(ROOT)!r})"
    code += f"; import core.protocol, core.parameters; {LOADED}"
    done = python("-I", "-c", code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "core" in loaded
    assert loaded - {"core"} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], ("detect", "serve")),
        (["models", "list"], ("embedded", "vit_h")),
        (["models", "list", "--json"], ("sha256",)),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_computes_nothing_is_quick_since_it_loads_nothing_heavy(words, said):
    code = (
        "import sys, runpy; before = set(sys.modules); "
        f"sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['core', *{words!r}]\n"
        "try:\n    runpy.run_module('core', run_name='__main__')\n"
        f"except SystemExit as end:\n    assert not end.code\n{LOADED}"
    )
    done = python("-I", "-c", code)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in said)
    assert not set(done.stdout.splitlines()[-1].split()) & (HEAVY | {"numpy"})


def test_names_that_core_offers_are_loaded_when_asked_for():
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import core; print('numpy' in sys.modules)"
    code += "; print(core.DetectRequest.__name__); core.detect; print('numpy' in sys.modules)"
    assert python("-I", "-c", code).stdout.split() == ["False", "DetectRequest", "True"]
    import core

    # A name that is also a module's would be the one or the other, depending on what was imported before.
    assert not {name for name in core.__all__ if (ROOT / "core" / f"{name}.py").exists()}
    with pytest.raises(AttributeError, match="no attribute"):
        _ = core.nonsense


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_files_stay_small_and_are_named_after_what_they_do(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
