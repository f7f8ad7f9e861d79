"""The demonstration: the real QGIS on a virtual screen finds the sample town's buildings and vehicles.

Prepares a fresh profile with the plugin, starts QGIS on :mod:`desktop` (which does what a person would
do), then measures the shapefiles against the town's truth. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
ENGINE_PYTHON = REPOSITORY / ".venv" / "bin" / "python"
DESKTOP_SECONDS = 2700
EVALUATE_SECONDS = 300
TARGETS = {"building": "detections.shp", "vehicle": "detections_vehicles.shp"}

PROFILE = """\
[PythonPlugins]
exemplar=true
[qgis]
checkVersion=false
showTips=false
[app]
projections\\unknownCrsBehavior=UseProjectCrs
[core]
NewsFeed\\httpsfeedqgisorg\\disabled=true
"""


class DemoError(Exception):
    """The demonstration failed; ``str(error)`` says at what."""


def prepare(folder: Path) -> None:
    """Empty the folder and put a fresh profile and a link to the plugin into it."""
    shutil.rmtree(folder, ignore_errors=True)
    ini = folder / "profile" / "profiles" / "default" / "QGIS" / "QGIS3.ini"
    ini.parent.mkdir(parents=True)
    ini.write_text(PROFILE, encoding="utf-8")
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "exemplar").symlink_to(REPOSITORY, target_is_directory=True)
    (folder / "start.py").write_text(
        f"import sys\nsys.path.insert(0, {str(HERE)!r})\nimport desktop\ndesktop.start()\n", encoding="utf-8"
    )


def run_desktop(folder: Path, sample: Path) -> dict:
    """Run QGIS on the virtual screen and return what the steps inside noted."""
    environ = {
        **os.environ,
        "QGIS_PLUGINPATH": str(folder / "plugins"),
        "EXEMPLAR_CACHE_GB": "0",  # the seconds that are told are those of a first run
        "EXEMPLAR_DEMO_FOLDER": str(folder),
        "EXEMPLAR_DEMO_SAMPLE": str(sample),
        "EXEMPLAR_ENGINE_PYTHON": str(ENGINE_PYTHON),
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "LC_ALL": "C.UTF-8",
    }
    environ.pop("QT_QPA_PLATFORM", None)  # the desktop needs the virtual screen
    command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", "qgis", "--nologo"]
    command += ["--profiles-path", str(folder / "profile"), "--profile", "default"]
    command += ["--code", str(folder / "start.py")]
    with (folder / "qgis.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            watch(process, folder / "qgis.log")
        finally:
            end_group(process)
    noted = folder / "desktop.json"
    if not noted.exists():
        raise DemoError("QGIS ended before the demonstration was over.")
    outcome = json.loads(noted.read_text(encoding="utf-8"))
    if outcome.get("failure"):
        raise DemoError(outcome["failure"])
    if Path(f"/proc/{outcome['engine_pid']}").exists():
        raise DemoError("QGIS left its engine behind.")
    return outcome


def watch(process: subprocess.Popen, log: Path) -> None:
    """Pass on what the steps inside tell, until QGIS ends."""
    deadline = time.monotonic() + DESKTOP_SECONDS
    with log.open(encoding="utf-8", errors="replace") as lines:
        while process.poll() is None:
            for line in lines:
                if line.startswith("demo: "):
                    print(f"   {line[6:]}", end="", flush=True)
            if time.monotonic() > deadline:
                raise DemoError(f"QGIS did not finish within {DESKTOP_SECONDS} s.")
            time.sleep(0.5)


def end_group(process: subprocess.Popen) -> None:
    """End QGIS with its virtual screen, whatever is left of them."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def measure(folder: Path, sample: Path, target: str, run: dict) -> dict:
    """Compare what one run found with the truth, by the engine's command line."""
    command = [str(ENGINE_PYTHON), "-m", "core", "evaluate"]
    command += ["--detections", str(folder / TARGETS[target]), "--truth", str(sample / "town_truth.gpkg")]
    command += ["--target", target, "--extent", *(repr(value) for value in run["extent"])]
    ended = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=EVALUATE_SECONDS, check=False
    )
    if ended.returncode:
        raise DemoError(f"The detections could not be measured: {ended.stderr.strip()}")
    figures = json.loads(ended.stdout)
    return {"count": run["count"], "seconds": run["seconds"], "extent": run["extent"], **figures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=Path, default=REPOSITORY / "resources" / "sample")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "demo")
    options = parser.parse_args()
    folder, sample = options.output.resolve(), options.sample.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that QGIS is ended with us
    print("== QGIS draws, runs and saves on a virtual screen; this takes a few minutes", flush=True)
    try:
        prepare(folder)
        outcome = run_desktop(folder, sample)
        result = {target: measure(folder, sample, target, outcome["runs"][target]) for target in TARGETS}
    except DemoError as error:
        print(f"demo: {error} QGIS's log: {folder / 'qgis.log'}", file=sys.stderr)
        return 1
    text = json.dumps(result, indent=2)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    print(f"== in {folder}: {', '.join([*TARGETS.values(), 'window.png', 'result.json'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
