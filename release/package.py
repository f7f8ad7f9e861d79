"""Make the package that QGIS's plugin repository and its plugin manager take: build/exemplar.VERSION.zip.

Standard library only. Two builds of one commit are the same to the byte (with the same zlib): the names are
sorted, every time is the commit's, every file has the same rights.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).resolve().parents[1]
TOP = "exemplar"  # the plugin's name as a Python package, and the folder in which QGIS puts it
LARGEST = 25_000_000  # bytes: what the plugin repository takes
FILE_RIGHTS = 0o100644  # of a regular file; an executable one counts as suspicious there
ROOT_FILES = ("__init__.py", "plugin.py", "metadata.txt", "LICENSE", "CHANGELOG.md")
# What is shipped of each folder, by ending. Anything else there is refused, not left out: a new kind of file
# has to be meant.
FOLDERS = {
    "core": {".py"},
    "ui": {".py"},
    "resources": {
        ".geojson", ".gpkg", ".html", ".lock", ".md", ".png", ".qml", ".safetensors", ".svg", ".tif", ".txt",
    },
}  # fmt: skip
# What programs leave beside the files that they read.
LEFT_BEHIND = re.compile(r"\.pyc$|\.aux\.xml$|\.gpkg-(wal|shm|journal)$")
REQUIRED = (
    "name", "description", "about", "version", "qgisMinimumVersion", "qgisMaximumVersion", "author", "email",
    "homepage", "tracker", "repository", "category", "icon", "tags", "hasProcessingProvider", "changelog",
)  # fmt: skip
UNWANTED = ("supportsQt6",)  # QGIS 4 goes by the two versions alone


class PackageError(Exception):
    """The package can't be made; ``str(error)`` says why and what to do."""


def shipped_files(root: Path = REPOSITORY) -> list[PurePosixPath]:
    """List the files of the package, sorted, relative to the repository."""
    found = [PurePosixPath(name) for name in ROOT_FILES]
    for folder, endings in FOLDERS.items():
        for path in sorted((root / folder).rglob("*")):
            name = PurePosixPath(path.relative_to(root).as_posix())
            if path.is_dir() or "__pycache__" in name.parts or LEFT_BEHIND.search(name.name):
                continue
            if path.is_symlink() or name.suffix not in endings or any(p.startswith(".") for p in name.parts):
                raise PackageError(
                    f"{name} is none of the kinds of files that are shipped of {folder}. "
                    f"Move it, or allow its ending in release/{Path(__file__).name}."
                )
            found.append(name)
    missing = [str(name) for name in found if not (root / name).is_file()]
    if missing:
        raise PackageError(f"Files of the package are missing: {', '.join(missing)}.")
    return sorted(found)


def read_metadata(root: Path = REPOSITORY) -> dict[str, str]:
    """Read metadata.txt and check it as the plugin repository does, and against the versions elsewhere."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(root / "metadata.txt", encoding="utf-8")
    general = dict(parser["general"])
    if lacking := [key for key in REQUIRED if not general.get(key, "").strip()]:
        raise PackageError(f"metadata.txt lacks {', '.join(lacking)}.")
    if unwanted := [key for key in UNWANTED if key in general]:
        raise PackageError(f"metadata.txt has {', '.join(unwanted)}, which QGIS no longer reads. Remove it.")
    if "/" in general["author"]:
        raise PackageError("The author in metadata.txt holds a slash, which the plugin repository refuses.")
    if not (root / general["icon"]).is_file():
        raise PackageError(f"The icon that metadata.txt names is not there: {general['icon']}.")
    versions = {"metadata.txt": general["version"]} | other_versions(root)
    if len(set(versions.values())) > 1:
        told = ", ".join(f"{version} in {name}" for name, version in versions.items())
        raise PackageError(f"The version differs: {told}. Write the same one into all of them.")
    return general


def other_versions(root: Path) -> dict[str, str]:
    """Find the version in the other files that name it."""
    tree = ast.parse((root / "core" / "__init__.py").read_text(encoding="utf-8"))
    of_core = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        and [target.id for target in node.targets if isinstance(target, ast.Name)] == ["__version__"]
    ]  # fmt: skip
    project = re.search(
        r'^version = "([^"]+)"$', (root / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    return {
        "core/__init__.py": str(of_core[0]) if of_core else "",
        "pyproject.toml": project[1] if project else "",
    }


def commit_time(root: Path) -> time.struct_time:
    """Return the time that all files get: SOURCE_DATE_EPOCH's, else the commit's, else the zip's first."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH") or git(root, "log", "-1", "--format=%ct") or "0"
    return time.gmtime(max(int(seconds), 315_532_800))  # 1980: a zip knows no earlier year


def git(root: Path, *words: str) -> str:
    """Return what git says; nothing where this is no clone."""
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout.rstrip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def build(folder: Path, root: Path = REPOSITORY) -> Path:
    """Write the package into a folder and return its path."""
    version = read_metadata(root)["version"]
    # QGIS takes a plugin's name from a file's name up to its first dot.
    target = folder / f"{TOP}.{version}.zip"
    date = commit_time(root)[:6]
    folder.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".part")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        for name in shipped_files(root):
            entry = zipfile.ZipInfo(f"{TOP}/{name}", date)
            entry.create_system = 3  # Unix, on whatever system it is made
            entry.external_attr = FILE_RIGHTS << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, (root / name).read_bytes(), compresslevel=9)
    draft.replace(target)
    if (size := target.stat().st_size) > LARGEST:
        raise PackageError(f"{target} has {size:,} bytes; the plugin repository takes {LARGEST:,}.")
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build", help="the folder to write to")
    parser.add_argument("--check", action="store_true", help="check metadata and files; write nothing")
    options = parser.parse_args()
    try:
        if options.check:
            read_metadata()
            shipped_files()
            return 0
        target = build(options.output)
    except PackageError as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    if changed := git(REPOSITORY, "status", "--porcelain", "--", *ROOT_FILES, *FOLDERS):
        print(f"package: made with changes that are not committed:\n{changed}", file=sys.stderr)
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
