"""Each command of research/ runs from any folder, and each one that a document names is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cv2")

ROOT = Path(__file__).resolve().parents[2]
NOT_A_COMMAND = {"research.benchmarks.speed_sides"}  # speed starts it, with an object for each side
COMMANDS = sorted(
    {
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in (ROOT / "research").rglob("*.py")
        if 'if __name__ == "__main__"' in file.read_text(encoding="utf-8")
    }
    - NOT_A_COMMAND
)
DOCUMENTS = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "research").rglob("*.md"), ROOT / "README.md"]
HELP = """
import contextlib, io, runpy, sys
for name in sys.argv[1:]:
    sys.argv, said = [name, "--help"], io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_module(name, run_name="__main__")
        except SystemExit as end:
            assert end.code == 0, name
    # lines may break anywhere, also after "usage: python -m"
    print(" ".join(said.getvalue().split())[:120])
"""


def test_every_command_says_how_it_is_called(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", HELP, *COMMANDS],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(COMMANDS) > 15
    for name, usage in zip(COMMANDS, said, strict=True):
        assert usage.startswith(f"usage: python -m {name} ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_that_a_document_names_are_there(document):
    named = re.findall(r"python -m (research(?:\.\w+)+)\b(?!\.…)", document.read_text(encoding="utf-8"))
    assert {*named} <= {*COMMANDS}
