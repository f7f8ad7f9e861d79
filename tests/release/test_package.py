"""The package is what the plugin repository takes: its files, its metadata, its scans."""

import re
import shutil
import zipfile
from pathlib import Path

import pytest

from release import package as package_module
from release.package import LARGEST, PackageError, build, other_versions, read_metadata, shipped_files
from release.scan import scan, scan_package

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = [
    path.relative_to(ROOT).as_posix()
    for folder in ("resources", "research")
    for path in (ROOT / folder).rglob("*.safetensors")
]
EXECUTABLES = (".exe", ".dll", ".so", ".dylib", ".bat", ".sh", ".ps1", ".cmd", ".pyc", ".pyd", ".zip")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture
def copy(tmp_path):
    """The repository's shipped files and what names the version, to be spoiled."""
    for name in [*map(str, shipped_files()), "pyproject.toml"]:
        target = tmp_path / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    return tmp_path / "copy"


def test_two_builds_are_the_same_to_the_byte(package, tmp_path, monkeypatch):
    assert build(tmp_path).read_bytes() == package.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    other = build(tmp_path / "later")
    assert {entry.date_time for entry in zipfile.ZipFile(other).infolist()} == {(2027, 1, 15, 8, 0, 0)}


def test_where_it_is_built_does_not_matter(package, copy, tmp_path, monkeypatch):
    """Not the folder, not the rights of the files, and not what programs left behind."""
    stamp = package_module.git(ROOT, "log", "-1", "--format=%ct") or "0"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", stamp)
    (copy / "core" / "__init__.py").chmod(0o755)
    for left in ("core/__pycache__/a.pyc", "resources/sample/town.tif.aux.xml",
                 "resources/sample/town_truth.gpkg-wal"):  # fmt: skip
        (copy / left).parent.mkdir(exist_ok=True)
        (copy / left).write_text("left behind")
    assert build(tmp_path / "there", copy).read_bytes() == package.read_bytes()


def test_the_files_are_those_that_the_plugin_needs(package):
    with zipfile.ZipFile(package) as content:
        assert content.testzip() is None
        names = content.namelist()
        rights = {entry.external_attr >> 16 for entry in content.infolist()}
    assert package.name == f"exemplar.{read_metadata()['version']}.zip"
    assert package.stat().st_size < LARGEST
    assert names == sorted(names) and len(names) == len(set(names))
    assert {name.split("/")[0] for name in names} == {"exemplar"}
    assert {name.split("/")[1] for name in names} == {
        "__init__.py", "plugin.py", "metadata.txt", "LICENSE", "CHANGELOG.md", "core", "ui", "resources",
    }  # fmt: skip
    assert not [name for name in names if name.lower().endswith(EXECUTABLES)]
    assert not [name for name in names if re.search(r"/\.|__pycache__|\.\.|\\", name)]
    assert rights == {0o100644}
    assert "exemplar/resources/exemplar-embedded.safetensors" in names
    assert "exemplar/resources/engine-requirements.txt" in names
    code = [path for folder in ("core", "ui") for path in (ROOT / folder).rglob("*.py")]
    assert {f"exemplar/{path.relative_to(ROOT).as_posix()}" for path in code} <= set(names)


def test_the_metadata_are_complete_and_the_versions_agree():
    assert set(other_versions(ROOT).values()) == {read_metadata()["version"]}


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("metadata.txt", r"version=.*", "version=9.9.9", "The version differs: 9.9.9 in metadata.txt"),
        ("core/__init__.py", r'__version__ = ".*"', '__version__ = "9.9.9"', "9.9.9 in core/__init__.py"),
        ("pyproject.toml", r"version = .*", 'version = "9.9.9"', "9.9.9 in pyproject.toml"),
        ("metadata.txt", r"tracker=.*", "", "lacks tracker"),
        ("metadata.txt", r"author=.*", "author=a/b", "slash"),
        ("metadata.txt", r"icon=.*", "icon=gone.svg", "not there: gone.svg"),
        ("metadata.txt", r"icon=", "supportsQt6=True\nicon=", "supportsQt6"),
    ],
)
def test_wrong_metadata_make_no_package(copy, tmp_path, name, old, new, said):
    file = copy / name
    file.write_text(re.sub(rf"^{old}", new, file.read_text("utf-8"), count=1, flags=re.MULTILINE), "utf-8")
    with pytest.raises(PackageError, match=re.escape(said)):
        build(tmp_path / "built", copy)
    assert not list((tmp_path / "built").glob("*"))


@pytest.mark.parametrize("name", ["core/fast.so", "ui/.hidden.py", "resources/run.sh", "resources/big.bin"])
def test_an_unknown_kind_of_file_is_refused_rather_than_shipped_or_left_out(copy, name):
    (copy / name).write_text("")
    with pytest.raises(PackageError, match=re.escape(name)):
        shipped_files(copy)


def test_a_missing_file_and_a_package_that_is_too_large(copy, tmp_path, monkeypatch):
    (copy / "LICENSE").unlink()
    with pytest.raises(PackageError, match="LICENSE"):
        build(tmp_path, copy)
    monkeypatch.setattr(package_module, "LARGEST", 1000)
    with pytest.raises(PackageError, match="takes 1,000"):
        build(tmp_path / "large")


def test_the_scans_of_the_plugin_repository_find_nothing(package):
    assert scan_package(package) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import subprocess\nsubprocess.run(['ls'])\n", "B603"),
        ("assert True\n", "B101"),
        ("try:\n    a = 1\nexcept Exception:\n    pass\n", "B110"),
        (f"key = '{'9f86d081884c7d65'[::-1]}2feaa0c55ad015a3bf4f1b2b0b822cd1'\n", "Hex High Entropy"),
        ("def broken(:\n", "can't read it"),
    ],
)
def test_what_the_scans_are_to_find_is_found(tmp_path, code, found):
    (tmp_path / "a.py").write_text(code)
    (tmp_path / "b.py").write_text("fine = 1\n")
    assert [finding for finding in scan(tmp_path) if found in finding]


def test_a_folder_without_code_is_no_clean_one(tmp_path):
    assert scan(tmp_path)


def test_a_plain_archive_holds_the_shipped_weights_alone():
    listed = package_module.git(ROOT, "check-attr", "export-ignore", "--", *WEIGHTS)
    if not listed:
        pytest.skip("this is no clone")
    left_out = [line.split(":")[0] for line in listed.splitlines() if line.endswith(": set")]
    assert set(WEIGHTS) - set(left_out) == {"resources/exemplar-embedded.safetensors"}
