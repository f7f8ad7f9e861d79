"""Zero-shot edges against Canny and Sobel on synthetic scenes, by the boundary F-measure.

The scenes are drawn from seeds that training leaves out (900000 and more; those
from 950000 on are not used to choose among its models either). Their
truth is the outlines of the instances: roofs, vehicles, labelled trees, pools,
containers. It leaves out what is drawn without being an instance: roads and
their markings, kerbs, shadows, walls, hedges, fields, ridges and parts of roofs,
trees in woods, and whatever other things hide almost wholly. An edge found there
counts as wrong, for every method. The embedded model was trained on scenes of
the same generator, which Canny and Sobel were not: no figure here says how SAM's
edges fare on real images.

Canny and Sobel get their best blur of those tried, chosen on the scenes that are
reported, which favours them. SAM's strengths are found on the enlarged scene and
brought back to its size before all are thinned alike (Canny thins by itself).

One JSON object is printed:
  scenes, model
  sam              edges as the command ``edges`` gives them: absolute strengths
  sam_normalised   the same with the paper's scale, each scene's own
  canny, sobel     with ``blur``, the best of those tried, in pixels
Each with ods, ois, and precision, recall and threshold at the ods.
"""

from __future__ import annotations

import argparse
import sys
import time

import cv2
import numpy as np
from scipy import ndimage

from core.edges.strength import edge_strength, normalised
from core.edges.thinning import thinned
from core.errors import InputError
from core.sam.segmenter import Segmenter
from research.benchmarks.boundaries import counts, f_measure, true_boundaries
from research.benchmarks.command import add_network, load_network, print_measured
from research.training.scenes import Scene, make_scene

HELD_OUT, FIRST_SEED = 900_000, 950_000  # training's seeds are below the first
BLURS = (1.0, 2.0, 3.0)
QUANTILES = np.linspace(0.02, 0.98, 20)  # of a method's strengths over all scenes: its thresholds
CANNY_HIGH = np.geomspace(15, 900, 20)  # Canny's upper thresholds, in its own units
CANNY_LOW = 0.4  # its lower one, as a share of the upper, as in Canny's paper


def sam_strength(segmenter: Segmenter, scene: Scene, enlarged: int) -> np.ndarray:
    """Strength before thinning, in the scene's own pixels."""
    height, width = scene.instances.shape
    image = cv2.resize(scene.image, (width * enlarged, height * enlarged), interpolation=cv2.INTER_CUBIC)
    strength = edge_strength(segmenter, image, np.ones(image.shape[:2], bool))
    return strength.reshape(height, enlarged, width, enlarged).mean((1, 3))


def grey(scene: Scene, blur: float) -> np.ndarray:
    """The scene in grey, blurred; float32, 0 to 255."""
    return cv2.GaussianBlur(cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), blur)


def sobel_strength(scene: Scene, blur: float) -> np.ndarray:
    """Length of Sobel's gradient."""
    picture = grey(scene, blur)
    return np.hypot(ndimage.sobel(picture, 0), ndimage.sobel(picture, 1))


def canny_maps(scene: Scene, blur: float) -> list[np.ndarray]:
    """Canny's edges at each of its thresholds."""
    picture = np.round(grey(scene, blur)).astype(np.uint8)
    return [cv2.Canny(picture, CANNY_LOW * high, high, L2gradient=True) > 0 for high in CANNY_HIGH]


def of_strengths(strengths: list[np.ndarray], truths: list[np.ndarray]) -> dict[str, float]:
    """Figures of a method that gives strengths, by thresholds that are the same for all scenes."""
    thin = [thinned(strength) for strength in strengths]
    there = np.concatenate([one[one > 0] for one in thin])
    thresholds = np.quantile(there, QUANTILES) if len(there) else np.zeros(1)
    found = f_measure(
        np.array(
            [counts([one > t for t in thresholds], true) for one, true in zip(thin, truths, strict=True)]
        )
    )
    return found | {"threshold": float(thresholds[int(found["threshold"])])}


def of_canny(scenes: list[Scene], truths: list[np.ndarray], blur: float) -> dict[str, float]:
    """Figures of Canny at one blur."""
    found = f_measure(
        np.array([counts(canny_maps(scene, blur), true) for scene, true in zip(scenes, truths, strict=True)])
    )
    return found | {"threshold": float(CANNY_HIGH[int(found["threshold"])]), "blur": blur}


def run(options: argparse.Namespace) -> dict:
    """Measure; gives the object that is printed."""
    if options.first_seed < HELD_OUT:
        raise InputError(f"Seeds below {HELD_OUT} may have been trained on. Ask for {HELD_OUT} or more.")
    if options.scenes < 1 or options.size < 64 or options.size % 4 or not options.enlarged >= 1:
        raise InputError("Give at least one scene, a size from 64 in steps of 4, and enlarge once or more.")
    if options.size * options.enlarged > 1024:
        raise InputError("An enlarged scene must fit SAM's canvas of 1024 pixels.")
    segmenter = load_network(options)
    scenes, strengths = [], []
    for seed in range(options.first_seed, options.first_seed + options.scenes):
        started = time.process_time()
        scenes.append(make_scene(seed, options.size))
        strengths.append(sam_strength(segmenter, scenes[-1], options.enlarged))
        print(f"scene {seed}: {time.process_time() - started:.0f} s", file=sys.stderr, flush=True)
    truths = [true_boundaries(scene.instances) for scene in scenes]
    canny = [of_canny(scenes, truths, blur) for blur in BLURS]
    sobel = [
        of_strengths([sobel_strength(scene, blur) for scene in scenes], truths) | {"blur": blur}
        for blur in BLURS
    ]
    figures = {
        "sam": of_strengths(strengths, truths),
        "sam_normalised": of_strengths([normalised(strength) for strength in strengths], truths),
        "canny": max(canny, key=lambda each: each["ods"]),
        "sobel": max(sobel, key=lambda each: each["ods"]),
    }
    rounded = {name: {key: round(value, 4) for key, value in each.items()} for name, each in figures.items()}
    return {"scenes": options.scenes, "model": options.model, **rounded}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m research.benchmarks.edges",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenes", type=int, default=12, help="how many (12)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help=f"of the scenes ({FIRST_SEED})")
    parser.add_argument("--size", type=int, default=512, help="side of a scene in pixels (512)")
    parser.add_argument("--enlarged", type=int, default=2, help="how many times for SAM (2)")
    add_network(parser)
    parser.add_argument("--json", action="store_true", help="one line instead of an indented object")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON object; 2 for wrong use or bad input."""
    options = parser().parse_args(arguments)
    return print_measured("research.benchmarks.edges", lambda: run(options), options.json)


if __name__ == "__main__":
    sys.exit(main())
