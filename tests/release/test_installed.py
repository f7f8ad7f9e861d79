"""The package alone does the job: the real QGIS installs it into a fresh profile and finds buildings.

QGIS, its own plugin installer, the engine's environment, and nothing else: neither the repository nor the
user's profile is in reach.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import geopandas
import pytest
import shapely

from release.package import build, read_metadata

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("in_qgis.py")
ENGINE_PYTHON = ROOT / ".venv" / "bin" / "python"
PROFILE = """\
[qgis]
checkVersion=false
showTips=false
[core]
NewsFeed\\httpsfeedqgisorg\\disabled=true
[app]
plugin_installer\\checkOnStart=false
[exemplar]
engine_python={python}
"""
OF_THIS_SESSION = ("EXEMPLAR_", "PYTHON", "QGIS_", "XDG_", "QT_QPA_")

pytestmark = pytest.mark.skipif(
    not (shutil.which("qgis") and shutil.which("xvfb-run")), reason="QGIS or Xvfb is not installed"
)


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """Run QGIS on the package; gives the folder and what the script inside told."""
    folder = tmp_path_factory.mktemp("trial")
    package = build(folder)
    shutil.copyfile(SCRIPT, folder / "script.py")
    ini = folder / "profiles" / "profiles" / "default" / "QGIS" / "QGIS3.ini"
    ini.parent.mkdir(parents=True)
    ini.write_text(PROFILE.format(python=ENGINE_PYTHON))
    for name in ("home", "runtime"):
        (folder / name).mkdir(mode=0o700)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(OF_THIS_SESSION)}
    environ |= {"HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "runtime"), "LC_ALL": "C.UTF-8"}
    environ |= {"EXEMPLAR_TRIAL": str(folder), "EXEMPLAR_TRIAL_ZIP": str(package), "EXEMPLAR_CACHE_GB": "0"}
    environ |= {"LIBGL_ALWAYS_SOFTWARE": "1"}
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x900x24", "qgis", "--nologo"]
    command += ["--profiles-path", str(folder / "profiles"), "--profile", "default"]
    command += ["--code", str(folder / "script.py")]
    with (folder / "qgis.log").open("w") as log:
        subprocess.run(
            command, env=environ, cwd=folder, stdout=log, stderr=subprocess.STDOUT, timeout=600, check=False
        )
    log = (folder / "qgis.log").read_text(errors="replace")
    assert (folder / "told.json").exists(), log
    told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    assert not told["failure"], told["failure"] + log
    return folder, told


def test_the_plugin_and_the_engine_run_from_the_installed_package(trial):
    folder, told = trial
    home = Path(told["home"])
    assert home == folder / "profiles" / "profiles" / "default" / "python" / "plugins" / "exemplar"
    assert len(told["modules"]) > 20
    assert all(Path(file).is_relative_to(home) for file in told["modules"])
    assert not [place for place in told["path"] if Path(place).resolve().is_relative_to(ROOT)]
    assert told["engine"][0] == str(ENGINE_PYTHON)  # by the setting, and of the repository nothing but that
    assert repr(str(home)) in " ".join(told["engine"])
    assert not [word for word in told["engine"][1:] if str(ROOT) in word]
    assert told["version"] == read_metadata()["version"]
    assert not Path(f"/proc/{told['engine_pid']}").exists(), "QGIS left its engine behind"


def test_it_finds_the_samples_buildings(trial):
    folder, told = trial
    found = geopandas.read_file(folder / "found.gpkg")
    truth = geopandas.read_file(ROOT / "resources" / "sample" / "town_truth.gpkg")
    truth = truth[(truth["target"] == "building") & truth.within(shapely.box(*told["extent"]))]
    assert len(truth) >= 5 and found.crs == truth.crs
    assert found.is_valid.all() and found["score"].between(0, 1).all()
    best = [(found.intersection(true).area / found.union(true).area).max() for true in truth.geometry]
    assert sum(overlap > 0.5 for overlap in best) >= 0.7 * len(truth), best
