"""The examples in the docstrings of what ``core`` offers run as they stand."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOWN = (
    "core.metrics",
    "core.callbacks",
    "core.geo.work_grid",
    "core.sam.segmenter",
    "core.pipeline.search",
    "core.pipeline.detect",
    "core.pipeline.edges",
)


@pytest.mark.parametrize("name", SHOWN)
def test_examples_run(name, tmp_path, monkeypatch):
    (tmp_path / "resources").symlink_to(ROOT / "resources", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    told = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert told.attempted > 0 and told.failed == 0
