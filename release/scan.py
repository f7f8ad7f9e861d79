"""Scan a package as QGIS's plugin repository does since July 2026: any finding there blocks an upload.

bandit runs with all its tests but one, detect-secrets with all its detectors. What is waived is waived in
the code, with its reason beside it. A scanner that fails is told; there it is passed over without a word.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from release.package import build

# B404 (`import subprocess`) says nothing of its own, and the plugin repository has it off, too.
BANDIT = ("bandit", "--recursive", ".", "--format", "json", "--quiet", "--skip", "B404")
# metadata.txt is left out there: a commit that uploads put into it is no secret.
SECRETS = ("detect-secrets", "scan", "--all-files", "--exclude-files", r"metadata\.txt", ".")


def scan(folder: Path) -> list[str]:
    """List the findings in an unpacked package, one sentence each."""
    bandit = _report(BANDIT, folder)
    found = [
        f"{issue['filename']}:{issue['line_number']}: {issue['test_id']} {issue['issue_text']}"
        for issue in bandit["results"]
    ]
    found += [f"{error['filename']}: bandit can't read it: {error['reason']}" for error in bandit["errors"]]
    if not bandit["metrics"]["_totals"]["loc"]:
        found.append(f"{folder}: bandit has found no code.")
    for name, secrets in _report(SECRETS, folder)["results"].items():
        found += [f"{name}:{secret['line_number']}: {secret['type']}" for secret in secrets]
    return sorted(found)


def scan_tree() -> list[str]:
    """List the findings in what the working tree's package would hold."""
    with tempfile.TemporaryDirectory() as folder:
        return scan_package(build(Path(folder)))


def scan_package(package: Path) -> list[str]:
    """List the findings in a zip."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(package) as content:
        content.extractall(folder)
        return scan(Path(folder))


def _report(command: tuple[str, ...], folder: Path) -> dict:
    """Run a scanner of this Python's environment in a folder and read what it says."""
    program = Path(sys.executable).with_name(command[0])
    ended = subprocess.run([str(program), *command[1:]], cwd=folder, capture_output=True, text=True)
    try:
        return json.loads(ended.stdout)
    except ValueError:
        raise SystemExit(f"scan: {command[0]} failed: {ended.stderr.strip() or ended.stdout}") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, nargs="?", help="a zip; by default that of the working tree")
    package = parser.parse_args().package
    found = scan_package(package) if package else scan_tree()
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
