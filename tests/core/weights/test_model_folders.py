"""Folders and files of weights that can't be looked at: one sentence, whoever asks."""

import errno
import json
import os
from pathlib import Path

import pytest
import shapely

from core.service.commands import main
from core.weights.catalogue import CATALOGUE

LONG = "x" * 300  # longer than a name may be anywhere


def _stranger(monkeypatch, tmp_path):
    monkeypatch.setenv("EXEMPLAR_MODELS", "~no-such-user/models")


def _homeless(monkeypatch, tmp_path):
    for variable in ("EXEMPLAR_MODELS", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where nobody's home is known


def _too_long(monkeypatch, tmp_path):
    monkeypatch.setenv("EXEMPLAR_MODELS", str(tmp_path / LONG))


def _locked(monkeypatch, tmp_path):
    forbid(monkeypatch, tmp_path / "locked")
    monkeypatch.setenv("EXEMPLAR_MODELS", str(tmp_path / "locked"))


def refused(capsys, *arguments):
    """One sentence on standard error, status 2, and nothing else."""
    status = main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("exemplar: ") and err.endswith(".\n")
    return err


def forbid(monkeypatch, folder):
    """Make a folder another user's; by hand, for who may do everything."""
    stat = Path.stat

    def refused(path, **options):
        if folder in (path, *path.parents):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refused)


@pytest.fixture(params=[_stranger, _homeless, _too_long, _locked], ids=lambda make: make.__name__[1:])
def bad_folder(request, monkeypatch, tmp_path):
    request.param(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    "words", [["list"], ["list", "--json"], ["download", "vit_b"], ["verify", "vit_b"]], ids=" ".join
)
def test_a_folder_that_can_not_be_looked_at_is_one_sentence(bad_folder, words, capsys):
    err = refused(capsys, "models", *words)
    assert "can't be read" in err or "can't be found" in err


def test_the_engine_greets_without_a_folder(bad_folder):
    from core.service.engine import greeting

    told = {entry["name"]: entry for entry in greeting()["models"]}
    assert [name for name, entry in told.items() if entry["here"]] == ["embedded"]
    assert json.dumps(told) and told.keys() == CATALOGUE.keys()


def test_files_that_can_not_be_looked_at_are_one_sentence(tmp_path, monkeypatch, capsys):
    assert "too long" in refused(capsys, "models", "import", "vit_b", tmp_path / LONG)
    assert "There is no file" in refused(capsys, "models", "import", "vit_b", "a\0b")
    forbid(monkeypatch, tmp_path / "locked")
    assert "locked" in refused(capsys, "models", "import", "vit_b", tmp_path / "locked" / "mine.pth")


@pytest.mark.parametrize(
    "name", [LONG + ".pth", "locked/mine.pth", "a\0b.pth"], ids=["long", "locked", "none"]
)
def test_checkpoints_that_can_not_be_looked_at_are_one_sentence(
    name, noisy_raster, write_polygons, tmp_path, monkeypatch, capsys
):
    forbid(monkeypatch, tmp_path / "locked")
    example = write_polygons([shapely.box(500_020, 5_399_958, 500_032, 5_399_970)])
    words = ["--raster", noisy_raster, "--example", example, "--output", tmp_path / "found.gpkg"]
    words += ["--checkpoint", tmp_path / name, "--device", "cpu", "--progress", "none"]
    err = refused(capsys, "detect", *words)
    assert any(said in err for said in ("can't be read", "no weights file", "Give a path"))
