"""The catalogue of weights, and ``models`` on the command line."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from core.errors import InputError
from core.service.commands import main
from core.weights import catalogue
from core.weights import fetch as fetch_module
from core.weights.catalogue import CATALOGUE, EMBEDDED, Model, cache_folder, models_folder, weights_file

ROOT = Path(__file__).resolve().parents[3]
CONTENT = np.random.default_rng(3).bytes(50_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the test's own: whoever runs it keeps theirs."""
    folder = tmp_path / "models"
    monkeypatch.setenv("EXEMPLAR_MODELS", str(folder))
    return folder


@pytest.fixture
def small(monkeypatch, folder):
    """An entry whose published file is CONTENT; "fetched" by writing it."""
    fetched = []

    def fetch(address, path, size, sha256, *, progress, cancelled):
        fetched.append((address, size, sha256))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)

    def entry(**changes):
        model = Model(
            "small",
            "A small one",
            size=len(CONTENT),
            sha256=SHA256,
            licence="MIT",
            memory=10**9,
            suits="any computer",
            address="https://example.invalid/weights/small.pth",
            sources=("one", "two"),
        )
        monkeypatch.setitem(CATALOGUE, "small", dataclasses.replace(model, **changes))
        return fetched

    monkeypatch.setattr(fetch_module, "download", fetch)
    return entry


def run(capsys, *arguments):
    status = main(["models", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, *arguments):
    """One sentence on standard error, and status 2."""
    status, out, err = run(capsys, *arguments, "--progress", "none")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("exemplar: ") and err.rstrip().endswith(".")
    return err


# The catalogue


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=CATALOGUE)
def test_every_entry_tells_what_a_user_wants_to_know(model):
    assert re.fullmatch("[0-9a-f]{64}", model.sha256)
    assert model.size > 1_000_000 and model.memory > model.size
    assert model.title and model.suits
    assert model.licence in ("Apache-2.0", "GPL-2.0-or-later")  # what this project may point to
    assert model.confirmed
    json.dumps(model.describe())


@pytest.mark.parametrize("model", [m for m in CATALOGUE.values() if not m.shipped], ids=lambda m: m.name)
def test_published_files_are_fetched_safely(model):
    assert model.address.startswith("https://")
    assert len(set(model.sources)) >= 2
    assert model.file.name == model.address.rsplit("/", 1)[-1]
    host = model.address.split("/")[2]
    assert all(host not in source for source in model.sources)


def test_each_entry_has_a_file_and_a_hash_of_its_own():
    assert len({model.sha256 for model in CATALOGUE.values()}) == len(CATALOGUE)
    assert len({model.file for model in CATALOGUE.values()}) == len(CATALOGUE)


def test_the_shipped_file_is_the_catalogues():
    content = EMBEDDED.shipped.read_bytes()
    there = (len(content), hashlib.sha256(content).hexdigest())
    assert there == (EMBEDDED.size, EMBEDDED.sha256), "a new model was shipped: put these into core/models.py"


# Where files lie


def test_the_folder_is_the_platforms_and_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    home = Path.home()
    for platform, base in ((Unix, home / ".cache"), (MacOS, home / "Library" / "Caches")):
        monkeypatch.setattr(catalogue, "PlatformDirs", platform)
        for named in ("", "relative"):  # a relative one counts for nothing, as the custom has it
            monkeypatch.setenv("XDG_CACHE_HOME", named)
            assert cache_folder() == base / "exemplar"
    monkeypatch.setattr(catalogue, "PlatformDirs", Unix)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "exemplar"
    assert models_folder({"EXEMPLAR_MODELS": str(tmp_path / "mine")}) == tmp_path / "mine"
    assert models_folder({"EXEMPLAR_MODELS": "~/mine"}) == home / "mine"
    assert models_folder({"EXEMPLAR_MODELS": ""}).parts[-2:] == ("exemplar", "models")
    with pytest.raises(InputError, match="EXEMPLAR_MODELS is 'models', which is no full path"):
        models_folder({"EXEMPLAR_MODELS": "models"})


def test_a_model_is_found_where_it_was_put(small, folder, tmp_path):
    small()
    with pytest.raises(InputError, match=r"not on this computer.*models download small.*--checkpoint"):
        weights_file("small", None)
    folder.mkdir()
    (folder / "small.pth").write_bytes(CONTENT)
    assert weights_file("small", None) == folder / "small.pth"
    (folder / "small.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"not whole \(49,999 of 50,000 bytes\)"):
        weights_file("small", None)
    (tmp_path / "mine.pth").write_bytes(b"of any length")
    assert weights_file("small", str(tmp_path / "mine.pth")) == tmp_path / "mine.pth"
    with pytest.raises(InputError, match="no weights file"):
        weights_file("small", str(tmp_path / "absent.pth"))
    assert weights_file("embedded", None) == EMBEDDED.shipped


# The commands


def test_list_tells_what_is_here(small, folder, capsys):
    small()
    status, out, _ = run(capsys, "list")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert status == 0 and set(CATALOGUE) < set(lines)
    assert lines["embedded"].endswith("here (shipped, default)") and lines["small"].endswith("not here")
    for told in ("375 MB", "Apache-2.0", "GB memory"):
        assert told in lines["vit_b"]
    assert str(folder) in out
    run(capsys, "download", "small")
    assert "; here\n" in run(capsys, "list")[1]
    listed = json.loads(run(capsys, "list", "--json")[1])
    assert [entry["name"] for entry in listed] == list(CATALOGUE)
    assert [entry["name"] for entry in listed if entry["here"]] == ["embedded", "small"]


def test_download_puts_a_file_in_its_place_once(small, folder, capsys):
    fetched = small()
    status, out, _ = run(capsys, "download", "small")
    assert status == 0 and out == f"small is in {folder / 'small.pth'}, verified\n"
    assert fetched == [("https://example.invalid/weights/small.pth", len(CONTENT), SHA256)]
    assert run(capsys, "download", "small", "--progress", "json")[0] == 0
    assert len(fetched) == 1  # it is there, and right
    (folder / "small.pth").write_bytes(bytes(len(CONTENT)))
    assert run(capsys, "download", "small", "--progress", "none") == (0, "", "")
    assert len(fetched) == 2


def test_an_interrupted_download_says_that_it_can_go_on(small, monkeypatch, capsys):
    small()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_module, "download", interrupted)
    status, out, err = run(capsys, "download", "small")
    assert (status, out) == (1, "") and "goes on from there" in err


def test_verify(small, folder, capsys):
    small()
    assert "not on this computer" in refused(capsys, "verify", "small")
    run(capsys, "download", "small")
    status, out, err = run(capsys, "verify", "small", "--progress", "json")
    assert status == 0 and out.endswith("is the published file of small\n")
    assert json.loads(err.splitlines()[-1])["fraction"] == 1
    (folder / "small.pth").write_bytes(bytes(len(CONTENT)))
    assert "damaged or another file" in refused(capsys, "verify", "small")
    assert run(capsys, "verify", "embedded")[0] == 0


def test_import(small, folder, tmp_path, capsys):
    small()
    mine = tmp_path / "from a colleague.pth"
    assert "There is no file" in refused(capsys, "import", "small", mine)
    mine.write_bytes(CONTENT + b"more")
    assert "has 50,004 bytes" in refused(capsys, "import", "small", mine)
    mine.write_bytes(bytes(len(CONTENT)))
    assert "is not the published file" in refused(capsys, "import", "small", mine)
    assert not folder.exists() or list(folder.iterdir()) == []
    mine.write_bytes(CONTENT)
    status, out, _ = run(capsys, "import", "small", mine)
    assert status == 0 and out == f"small is in {folder / 'small.pth'}, verified\n"
    assert (folder / "small.pth").read_bytes() == mine.read_bytes() == CONTENT


def test_names_that_are_none_and_what_is_shipped(capsys, tmp_path):
    for action in ("download", "verify"):
        assert "There is no model 'gpt'" in refused(capsys, action, "gpt")
    assert "There is no model 'gpt'" in refused(capsys, "import", "gpt", tmp_path / "x")
    assert "comes with Exemplar" in refused(capsys, "download", "embedded")


def test_an_unconfirmed_hash_fails_closed_until_the_user_brings_one(small, folder, tmp_path, capsys):
    fetched = small(sources=("only one",), sha256=OTHER)
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    for arguments in (["download", "small"], ["import", "small", tmp_path / "mine.pth"]):
        assert "could not be confirmed from two sources" in refused(capsys, *arguments)
        assert "is no SHA-256" in refused(capsys, *arguments, "--trust-sha256", "yes")
    assert fetched == [] and not folder.exists()
    assert "not confirmed" in run(capsys, "list")[1]
    assert run(capsys, "download", "small", "--trust-sha256", SHA256.upper())[0] == 0
    assert [sha256 for *_, sha256 in fetched] == [SHA256]
    assert run(capsys, "verify", "small", "--trust-sha256", SHA256)[0] == 0
    assert "could not be confirmed" in refused(capsys, "verify", "small")
    assert "is not the published file" in refused(
        capsys, "import", "small", tmp_path / "mine.pth", "--trust-sha256", OTHER
    )


def test_a_confirmed_hash_is_not_talked_over(small, capsys):
    fetched = small()
    assert "is confirmed and is another one" in refused(capsys, "download", "small", "--trust-sha256", OTHER)
    assert fetched == []
    assert run(capsys, "download", "small", "--trust-sha256", SHA256)[0] == 0


@pytest.mark.parametrize("arguments", [[], ["fly"], ["download"], ["import", "vit_b"], ["list", "x"]])
def test_wrong_use_is_explained(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["models", *arguments])
    assert end.value.code == 2 and "error: " in capsys.readouterr().err


# Loading


class Bomb:
    """A pickle that would write a file when it is opened."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


@pytest.mark.parametrize("where", ["folder", "checkpoint"])
def test_a_malicious_checkpoint_is_refused_and_does_not_run(
    where, small, noisy_raster, write_polygons, folder, tmp_path, monkeypatch
):
    """From the shell, as a user meets it: one sentence, status 2, and the payload has not run."""
    import shapely

    exploded, output = tmp_path / "exploded", tmp_path / "found.gpkg"
    folder.mkdir()
    bomb = folder / CATALOGUE["vit_b"].file.name if where == "folder" else tmp_path / "bomb.pth"
    state = {"image_encoder.pos_embed": torch.zeros(4), "payload": Bomb(exploded)}
    torch.save(state, bomb, _use_new_zipfile_serialization=where != "folder")
    example = write_polygons([shapely.box(500_020, 5_399_958, 500_032, 5_399_970)])
    words = ["detect", "--raster", noisy_raster, "--example", example, "--output", output, "--device", "cpu"]
    words += ["--model", "vit_b", "--progress", "none"]
    if where == "folder":
        os.truncate(
            bomb, CATALOGUE["vit_b"].size
        )  # of the published length: what follows a pickle is not read
    else:
        words += ["--checkpoint", bomb]
    # in the folder it is not even opened as weights
    sentence = "damaged or another file" if where == "folder" else "no weights that can be read safely"
    done = subprocess.run(
        [sys.executable, "-m", "core", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1 and sentence in done.stderr
    assert not exploded.exists() and not output.exists()
    torch.load(bomb, weights_only=False)
    assert exploded.exists()  # it would have


def test_a_downloaded_file_is_loaded_without_a_checkpoint(embedded_checkpoint, fill):
    """What ``detect --model NAME`` and the engine do: the name alone finds the file."""
    from core.sam.segmenter import Segmenter

    fill(embedded_checkpoint.read_bytes())
    assert Segmenter.load("small", device="cpu").name == "small"


@pytest.fixture
def fill(small, folder, monkeypatch):
    """Put the published file of a model of the embedded architecture in its place."""

    def put(content, **changes):
        sha256 = hashlib.sha256(content).hexdigest()
        address = "https://example.invalid/small.safetensors"
        small(**{"size": len(content), "sha256": sha256, "address": address} | changes)
        folder.mkdir()
        (folder / "small.safetensors").write_bytes(content)
        monkeypatch.setattr(catalogue, "EMBEDDED", CATALOGUE["small"])
        return folder / "small.safetensors"

    return put


def test_another_file_of_the_right_length_is_not_loaded(embedded_checkpoint, fill):
    from core.sam.segmenter import Segmenter

    content = embedded_checkpoint.read_bytes()
    path = fill(content)
    published = Segmenter.load("small", device="cpu").identity
    path.write_bytes(content[:-4] + bytes(4))
    with pytest.raises(InputError, match=r"another file.*Remove it and fetch it again.*or import") as caught:
        Segmenter.load("small", device="cpu")
    assert "\n" not in str(caught.value)
    given = Segmenter.load("small", str(path), "cpu")  # weights of the user's own may be any
    assert given.identity != published


def test_a_shipped_file_that_was_changed_is_not_loaded(embedded_checkpoint, monkeypatch):
    from core.sam.segmenter import Segmenter

    monkeypatch.setitem(
        CATALOGUE, "embedded", dataclasses.replace(EMBEDDED, shipped=Path(embedded_checkpoint))
    )
    with pytest.raises(InputError, match=r"another file.*Install Exemplar again"):
        Segmenter.load("embedded", device="cpu")
    assert Segmenter.load("embedded", str(embedded_checkpoint), "cpu").name == "embedded"


def test_a_model_whose_hash_is_not_confirmed_is_loaded_as_a_checkpoint_only(embedded_checkpoint, fill):
    from core.sam.segmenter import Segmenter

    path = fill(embedded_checkpoint.read_bytes(), sources=("only one",))
    with pytest.raises(InputError, match=r"could not be confirmed.*--checkpoint"):
        Segmenter.load("small", device="cpu")
    Segmenter.load("small", str(path), "cpu")
