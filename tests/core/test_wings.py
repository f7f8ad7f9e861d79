"""Two wings and one door: who may import whom. QGIS's Python never loads the heavy libraries."""

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
QGIS = {"qgis", "PyQt5", "PyQt6", "osgeo"}
HOUSE = {"core", "ui", "research", "tests", "plugin"}
LEFT = [path for path in (ROOT / "__init__.py", ROOT / "plugin.py") if path.exists()]
LEFT += sorted((ROOT / "ui").rglob("*.py"))
CORE = sorted((ROOT / "core").rglob("*.py"))
FOLDERS = ("core", "ui", "tests", "research")
OURS = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
OURS += sorted(ROOT.glob("*.py"))
OURS = [path for path in OURS if "__pycache__" not in path.parts]


def name_of(path):
    return str(path.relative_to(ROOT))


def imported(path):
    """Dotted names that a file imports, anywhere in it; the repository's own without dots in front."""
    folder = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            assert node.level <= len(folder) + 1, f"{path} imports from beyond the repository"
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from ..core import protocol` names a module, `from ..core.protocol import encode` a function
            yield from (f"{module}.{alias.name}" if module else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (
                a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
            )


def roots(path):
    return {name.split(".")[0] for name in imported(path)}


def test_there_is_something_to_look_at():
    assert len(CORE) > 15 and len(OURS) > len(CORE) + len(LEFT)
    assert ROOT / "core" / "protocol.py" in CORE


def test_the_reader_of_imports_reads_them(tmp_path):
    probe = ROOT / "ui" / "probe.py"  # never written: only its place matters
    text = "import torch.nn\nfrom ..core.pipeline import detect\nfrom ..core.protocol import encode\n"
    text += "from . import dock\n"

    class Probe(type(tmp_path)):
        def read_text(self, encoding=None):
            return text

    assert list(imported(Probe(probe))) == [
        "torch.nn",
        "core.pipeline.detect",
        "core.protocol.encode",
        "ui.dock",
    ]


@pytest.mark.parametrize("path", LEFT, ids=name_of)
def test_what_qgis_loads_imports_nothing_heavy_and_of_core_the_protocol_only(path):
    assert not roots(path) & HEAVY
    assert not roots(path) & {"research", "tests"}
    from_core = {name for name in imported(path) if name.split(".")[0] == "core"}
    assert all(name.startswith("core.protocol") for name in from_core), from_core


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_knows_no_qgis_and_none_of_the_other_folders(path):
    assert not roots(path) & QGIS
    assert not roots(path) & (HOUSE - {"core"})


# A package's modules import packages further down only; single modules of core stand below all of them.
ORDER = (
    "service", "pipeline", "outputs", "vectors", "edges", "instances", "voting", "canvas", "sam", "weights",
    "geo",
)  # fmt: skip
TOP = {"__init__", "__main__", "metrics"}  # these open the doors, or read files to compare them


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_imports_in_the_order_of_the_data_only(path):
    place = path.relative_to(ROOT / "core").parts
    if place[-1].removesuffix(".py") in TOP and len(place) == 1:
        return
    own = ORDER.index(place[0]) if len(place) > 1 else len(ORDER)
    packages = {name.split(".")[1] for name in imported(path) if name.startswith("core.")} & set(ORDER)
    assert all(ORDER.index(package) >= own for package in packages), packages


def test_the_roots_init_imports_nothing_of_the_house_at_its_top():
    path = ROOT / "__init__.py"
    if not path.exists():
        pytest.skip("the plugin's part is not here yet")
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
    code += f"; import core.protocol; {LOADED}"
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
