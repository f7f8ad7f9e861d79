"""Validation inside training: one click, and one example on stitched canvases, on plates never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from research.training.cache import HELD_OUT_SEED
from research.training.canvases import Stitched, make_stitched
from research.training.network import Prompts, Trainee, shrink, true_iou
from research.training.plates import Plate, load_footprints, scene_plate, split_plate
from research.training.prompting import clickable, empty_task, middle_pixel, put_points, random_pixels
from research.training.scenes import BUILDING, VEHICLE
from research.training.steps import NAMES, random_view
from research.training.views import View

CLICK_VIEWS, CANVASES, CLICKS = 12, 5, 6
RUNS = 6


@dataclass
class HeldOut:
    """Views to click in and canvases to run on, by name."""

    views: dict[str, list[View]]
    canvases: dict[str, list[Stitched]]


def validation_set(scenes: Path, real: Path | None) -> HeldOut:
    """The same views and canvases every time, from held-out scenes and held-out parts of real plates."""
    rng = np.random.default_rng(77)
    plates = [scene_plate(f) for f in sorted(scenes.glob("*.npz")) if int(f.stem) >= HELD_OUT_SEED]
    sources = {"synthetic": plates}
    if real is not None and real.exists():
        sources["real"] = [split_plate(plate)[1] for plate in load_footprints(real)]
    views, canvases = {}, {}
    for name, some in sources.items():
        if not some:
            continue
        views[name] = [random_view(rng, some[i % len(some)], 384, 40, 160) for i in range(CLICK_VIEWS)]
        for kind in (BUILDING, VEHICLE) if name == "synthetic" else (BUILDING,):
            canvases[f"{name} {NAMES[kind]}"] = _canvases(rng, some, kind)
    return HeldOut(views, canvases)


def _canvases(rng: np.random.Generator, plates: list[Plate], kind: int) -> list[Stitched]:
    found: list[Stitched] = []
    for attempt in range(60):
        stitched = make_stitched(rng, plates[attempt % len(plates)], kind, 512, 768)
        if stitched is not None and stitched.wanted[:, stitched.canvas.column :].mean() > 0.01:
            found.append(stitched)
        if len(found) == CANVASES:
            break
    return found


@torch.inference_mode()
def click_iou(model: Trainee, view: View, rng: np.random.Generator) -> dict[int, list[tuple[float, float]]]:
    """IoU of one click at the middle of objects, by kind: single-mask token, best of three by prediction.

    The click comes with the box that the box head sees there, as in the engine.
    """
    features = model.encode([view.image])
    there = clickable(view)
    ids = rng.permutation(list(there))[:CLICKS]
    found: dict[int, list[tuple[float, float]]] = {}
    if len(ids) == 0:
        return found
    task = empty_task(len(ids), *view.instances.shape)
    for row, i in enumerate(ids):
        task.target[row] = view.instances == i
        put_points(task, row, middle_pixel(task.target[row]), np.zeros((0, 2), np.float32))
    for _, prompts, target, weight, _ in task.parts():
        prompts.boxes = model.boxes_at(features, prompts.points[:, 0])
        logits, quality = model.decode(features, prompts)
        iou = true_iou(logits, target, weight)
        best = 1 + quality[:, 1:].argmax(dim=1)
        for row, i in enumerate(ids):
            pair = (iou[row, 0].item(), iou[row, best[row]].item())
            found.setdefault(int(view.kinds[i]), []).append(pair)
    return found


@torch.inference_mode()
def example_iou(model: Trainee, stitched: Stitched, rng: np.random.Generator) -> float:
    """IoU in the query of the vote of several runs with one random query point each (the default strategy).

    The better half of the runs by predicted IoU votes, weighted by it.
    """
    features = model.encode([stitched.canvas.image])
    canvas = stitched.canvas
    task = empty_task(RUNS, *stitched.wanted.shape)
    for row in range(RUNS):
        positive = [random_pixels(rng, canvas.example, 4), random_pixels(rng, canvas.query, 1)]
        put_points(task, row, np.concatenate(positive), random_pixels(rng, canvas.ring, 4))
    logits, quality = model.decode(
        features, Prompts(torch.from_numpy(task.points), torch.from_numpy(task.labels))
    )
    weights = torch.where(quality[:, 0] >= quality[:, 0].median(), quality[:, 0].clamp(min=1e-3), 0)
    vote = (logits[:, 0].sigmoid() * weights[:, None, None]).sum(0) / weights.sum()
    known = torch.from_numpy(~stitched.unknown & stitched.canvas.query)[None].float()
    target = torch.from_numpy(stitched.wanted)[None].float()
    return true_iou((vote - 0.5)[None, None], shrink(target), shrink(known)).item()


def report(model: Trainee, held_out: HeldOut) -> str:
    """All figures as one line."""
    rng = np.random.default_rng(5)
    model.eval()
    parts = []
    for name, views in held_out.views.items():
        clicks: dict[int, list[tuple[float, float]]] = {}
        for view in views:
            for kind, pairs in click_iou(model, view, rng).items():
                clicks.setdefault(kind, []).extend(pairs)
        for kind, pairs in sorted(clicks.items()):
            single, best = np.mean(pairs, axis=0)
            parts.append(f"click {name} {NAMES.get(kind, 'other')} {single:.3f}/{best:.3f} ({len(pairs)})")
    for name, canvases in held_out.canvases.items():
        ious = [example_iou(model, stitched, rng) for stitched in canvases]
        if ious:
            parts.append(f"example {name} {np.median(ious):.3f} (lowest {np.min(ious):.3f}, {len(ious)})")
    return ", ".join(parts)
