"""The three kinds of training step, each from a random draw to a loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import ndimage

from core.sam.boxes import centres
from core.sam.geometry import BOX_STRIDE
from core.sam.networks.quality import mask_features
from research.training.cache import HELD_OUT_SEED
from research.training.canvases import canvas_task, make_stitched
from research.training.network import Prompts, Trainee, box_loss, prompt_loss, semantic_loss
from research.training.plates import Plate, ScenePlates, load_boxes, load_footprints, pick_kind, split_plate
from research.training.prompting import Task, add_corrections, crop_task
from research.training.repaint import repaint
from research.training.scenes import BUILDING, VEHICLE
from research.training.styles import Style, restyle, styles_of
from research.training.views import View, cut_view, orient, random_scale, recolor

CROP = 256
SEMANTIC_WEIGHT = 1.0  # beside the masks: what keeps buildings and vehicles apart in the embedding
BOX_WEIGHT = 0.3  # beside classes and borders
SEEN_BOX = 0.7  # share of the clicks that come with the box head's box, as in the engine
LOOSE = 0.03  # noise of that box beyond its own, as a share of its longer side
CORRECTIONS = 2  # the most clicks at a time where an answer was wrong
# Side and number of a semantic step's views: from many objects to much that surrounds them
SEMANTIC_VIEWS = ((256, 8), (512, 2), (512, 2), (1024, 1))
NAMES = {BUILDING: "building", VEHICLE: "vehicle"}
CANVAS_SHAPES = ((512, 640), (512, 640), (512, 768), (640, 512), (448, 736))
LARGE_SHAPES = ((1024, 1024), (768, 1024), (1024, 768))
ELSEWHERE = 0.25  # share of the views of other objects than the one whose size they are scaled by
ALLEY_PX = 8  # up to which the ground between two objects is nothing but their border
RESTYLED = 0.4  # share of the plates that take on the colours of another place
PSEUDO = 0.35  # of the real plates, where there are both: those whose masks the model made itself
REPAINTED = {True: 0.2, False: 0.4}  # share whose single objects get new colours: synthetic, real


@dataclass
class Data:
    """Where training draws from; real plates may be missing.

    ``real_factor`` makes them rarer, or more frequent, than each step asks for.
    """

    scenes: ScenePlates
    footprints: list[Plate]
    boxes: list[Plate]
    pseudo: list[Plate]
    styles: list[Style]
    real_factor: float = 1.0

    @classmethod
    def open(
        cls,
        scenes: Path,
        real: Path | None,
        pseudo: list[Plate] | None = None,
        real_factor: float = 1.0,
        whole: bool = False,
    ) -> Data:
        """Synthetic scenes of a cache, and the training part of real data that is there, or all of it."""
        there = real is not None and real.exists()
        footprints = load_footprints(real) if there else []
        if not whole:
            footprints = [split_plate(plate)[0] for plate in footprints]
        boxes = load_boxes(real / "estonia") if there else []
        styles = styles_of(footprints + boxes)
        plates = ScenePlates(scenes, 0, HELD_OUT_SEED)
        return cls(plates, footprints, boxes, pseudo or [], styles, real_factor)

    def draw(self, rng: np.random.Generator, real_share: float) -> Plate:
        """A labelled plate: synthetic, or real with footprints or with pseudo-masks."""
        plate = self._plate(rng, real_share)
        if rng.random() < REPAINTED[plate.synthetic]:
            plate = repaint(rng, plate)
        if self.styles and rng.random() < RESTYLED:
            style = self.styles[rng.integers(len(self.styles))]
            plate = restyle(plate, style, float(rng.uniform(0.3, 1)))
        return plate

    def _plate(self, rng: np.random.Generator, real_share: float) -> Plate:
        if (self.footprints or self.pseudo) and rng.random() < real_share * self.real_factor:
            if self.pseudo and (not self.footprints or rng.random() < PSEUDO):
                return self.pseudo[rng.integers(len(self.pseudo))]
            return self.footprints[rng.integers(len(self.footprints))]
        return self.scenes.draw(rng)


@dataclass
class Answers:
    """Features of P prompts' masks (P, 4, ``N_FEATURES``), their true IoU (P, 4), their groups (P,)."""

    features: torch.Tensor
    iou: torch.Tensor
    group: torch.Tensor


@dataclass
class Outcome:
    """What a step tells: its loss and, for the log, named IoUs."""

    loss: torch.Tensor
    figures: dict[str, float]


def random_view(
    rng: np.random.Generator, plate: Plate, size: int, least: float, most: float, shrinks: bool = False
) -> View:
    """A square view with a random object in it, ``least`` to ``most`` pixels long, turned and recoloured.

    Now and then another object is in it, the larger the likelier: beside an
    example of a hut, a hall is shown far larger than ``most``.
    Where the plate is too small for the view at that scale, the scale grows, or
    the view ``shrinks``.
    """
    boxes = plate.instance_boxes()
    height, width = plate.image.shape[:2]
    usable = [i for i in boxes if boxes[i][4] >= 12]
    if usable:
        kinds = plate.kinds[usable]
        kind = pick_kind(rng, kinds)
        alike = np.array(usable)[kinds == kind]
        x0, y0, x1, y1, _ = boxes[int(rng.choice(alike))]
        scale = random_scale(rng, max(x1 - x0, y1 - y0, 4), least, most, kind)
        if rng.random() < ELSEWHERE:
            areas = np.array([boxes[i][4] for i in alike], float)
            x0, y0, x1, y1, _ = boxes[int(rng.choice(alike, p=areas / areas.sum()))]
        centre = rng.uniform([x0, y0], [x1, y1])
    else:
        scale, centre = float(np.exp(rng.uniform(-0.5, 0.7))), rng.uniform([0, 0], [width, height])
    if shrinks:
        size = max(CROP, min(size, int(min(height, width) * scale) // 16 * 16))
    scale = max(scale, size / min(height, width))
    corner = centre - rng.uniform(0.2, 0.8, 2) * size / scale
    corner = np.clip(corner, 0, np.maximum([width, height] - np.array(size / scale), 0))
    view = orient(cut_view(plate, scale, *corner, size, size), int(rng.integers(4)), bool(rng.random() < 0.5))
    view.image = recolor(rng)(view.image)
    return view


def semantic_targets(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Class, boundary, where that is one between two neighbours, and weight; all at stride 4.

    Neighbours touch, or leave an alley of at most ``ALLEY_PX`` pixels, which is boundary as a whole.
    """
    ids = np.where(view.kinds[view.instances] <= VEHICLE, view.instances, 0)  # trees and the like are "other"
    edge, between = np.zeros(ids.shape, np.uint8), np.zeros(ids.shape, np.uint8)
    for here, there in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differ = ids[here] != ids[there]
        edge[here] |= differ
        between[here] |= differ & (ids[here] > 0) & (ids[there] > 0)
    reach = np.ones((ALLEY_PX + 1, ALLEY_PX + 1), np.uint8)
    highest = cv2.dilate(ids.astype(np.float32), reach)
    lowest = cv2.erode(np.where(ids > 0, ids, np.inf).astype(np.float32), reach)
    alley = (ids == 0) & (highest > lowest)  # where nothing is near, 0 > infinity is false
    edge, between = edge | alley, between | alley
    boundary, between = (
        cv2.dilate(line, np.ones((4, 4), np.uint8))[2::4, 2::4].astype(np.float32) for line in (edge, between)
    )
    kinds = view.kinds[ids][2::4, 2::4].astype(np.int64)
    return kinds, boundary, between, (~view.unknown[2::4, 2::4]).astype(np.float32)


def box_targets(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Distances (4, h, w) from each place of the box head to its object's sides, and weight (h, w).

    All buildings and vehicles of a view count the same, but those of less than
    four places; trees and the like, which are many, a quarter of that. Where the
    view cuts an object, its box is that of the part that is seen.
    """
    height, width = view.instances.shape
    boxes = np.zeros((len(view.kinds), 4), np.float32)
    boxes[:] = [-1, -1, width + 1, height + 1]
    for number, part in enumerate(ndimage.find_objects(view.instances, len(view.kinds) - 1), start=1):
        if part is not None:
            boxes[number] = part[1].start, part[0].start, part[1].stop, part[0].stop
    at_places = np.s_[BOX_STRIDE // 2 :: BOX_STRIDE, BOX_STRIDE // 2 :: BOX_STRIDE]
    ids = view.instances[at_places]
    x, y = centres(ids.shape)
    x0, y0, x1, y1 = np.moveaxis(boxes[ids], -1, 0)
    reach = np.stack([x - x0, y - y0, x1 - x, y1 - y]).astype(np.float32)
    known = (ids > 0) & ~view.unknown[at_places]
    places = np.bincount(ids[known], minlength=len(boxes))
    share = known * np.where(view.kinds[ids] <= VEHICLE, 1.0, 0.25) / np.maximum(places[ids], 4)
    return np.maximum(reach, 0.5), share.astype(np.float32)


def _semantic(model: Trainee, features: torch.Tensor, views: list[View]) -> Outcome:
    targets = [semantic_targets(view) for view in views]
    kinds, boundary, between, weight = (torch.from_numpy(np.stack(part)) for part in zip(*targets))
    only = torch.tensor([not view.synthetic and view.labelled == (BUILDING,) for view in views])
    output = model.head(features)
    loss = semantic_loss(output, kinds, boundary, between, weight, only)
    reach, share = (torch.from_numpy(np.stack(part)) for part in zip(*(box_targets(view) for view in views)))
    boxes, box_iou = box_loss(model.box_head(features), reach, share)
    loss = loss + BOX_WEIGHT * boxes
    found, known = output[:, :3].argmax(1), weight > 0
    figures = {"box": box_iou.item()} if share.any() else {}
    for name, kind, chosen in (
        ("building", BUILDING, ~only), ("vehicle", VEHICLE, ~only), ("real building", BUILDING, only),
    ):  # fmt: skip
        a, b = (
            (found == kind) & known & chosen[:, None, None],
            (kinds == kind) & known & chosen[:, None, None],
        )
        if b.any():
            figures[f"semantic {name}"] = float((a & b).sum() / (a | b).sum())
    return Outcome(loss, figures)


def semantic_step(model: Trainee, data: Data, rng: np.random.Generator) -> Outcome:
    """Classes and boundaries on views of all plates: what the encoder needs first."""
    size, count = SEMANTIC_VIEWS[rng.integers(len(SEMANTIC_VIEWS))]
    views = []
    for _ in range(count):
        if data.boxes and not data.pseudo and rng.random() < 0.15 * data.real_factor:
            plate = data.boxes[rng.integers(len(data.boxes))]
        else:
            plate = data.draw(rng, 0.35)
        views.append(random_view(rng, plate, size, 32, 200))
    return _semantic(model, model.encode([view.image for view in views]), views)


def crop_step(
    model: Trainee, data: Data, rng: np.random.Generator, batch: int = 4, prompts: int = 5
) -> Outcome:
    """Clicks and boxes on crops, each at a random place of the canvas."""
    views = [random_view(rng, data.draw(rng, 0.4), CROP, 24, 200) for _ in range(batch)]
    features = model.encode([view.image for view in views])
    semantic = _semantic(model, features, views)
    losses, figures = [SEMANTIC_WEIGHT * semantic.loss], dict(semantic.figures)
    for i, view in enumerate(views):
        task = crop_task(rng, view, prompts)
        if task is None:
            continue
        cells = CROP // 16
        origin = (int(rng.integers(65 - cells)), int(rng.integers(65 - cells)))
        shift = np.array([origin[1], origin[0]], np.float32) * 16
        task.points += shift
        task.boxes += np.concatenate([shift, shift])
        kind = "synthetic" if view.synthetic else "real"
        one = features[i : i + 1]
        losses.append(_decode(model, one, task, figures, f"crop {kind}", rng, origin, i == 0) / batch)
    return Outcome(sum(losses), figures)


def canvas_step(
    model: Trainee,
    data: Data,
    rng: np.random.Generator,
    large: bool = False,
    groups: int = 2,
    singles: int = 2,
    answers: list[Answers] | None = None,
) -> Outcome:
    """Runs on a whole stitched canvas, as the pipeline makes them; ``answers``, if given, are added to."""
    shapes = LARGE_SHAPES if large else CANVAS_SHAPES
    stitched = None
    while stitched is None:
        plate = data.draw(rng, 0.5)
        if plate.labelled:
            kind = pick_kind(rng, plate.labelled)
            stitched = make_stitched(rng, plate, kind, *shapes[rng.integers(len(shapes))])
    task = canvas_task(rng, stitched, groups, singles)
    figures: dict[str, float] = {}
    name = f"canvas {'synthetic' if plate.synthetic else 'real'} {NAMES.get(kind, 'other')}"
    features = model.encode([stitched.canvas.image])
    in_query = features[..., stitched.canvas.column // 16 :]
    semantic = _semantic(model, in_query, [stitched.query_view]).loss
    loss = _decode(model, features, task, figures, name, rng, answers=answers)
    return Outcome(loss + SEMANTIC_WEIGHT * semantic, figures)


def view_step(
    model: Trainee,
    data: Data,
    rng: np.random.Generator,
    size: int,
    prompts: int = 6,
    answers: list[Answers] | None = None,
) -> Outcome:
    """Clicks, corrected where the answer was wrong, and boxes in a view as large as a canvas.

    ``answers``, if given, are added to.
    """
    task = None
    while task is None:
        view = random_view(rng, data.draw(rng, 0.5), size, 48, 200, shrinks=True)
        task = crop_task(rng, view, prompts)
    figures: dict[str, float] = {}
    features = model.encode([view.image])
    name = f"view {'synthetic' if view.synthetic else 'real'}"
    semantic = _semantic(model, features, [view]).loss
    loss = _decode(model, features, task, figures, name, rng, corrected=True, answers=answers)
    return Outcome(loss + SEMANTIC_WEIGHT * semantic, figures)


def _decode(
    model: Trainee,
    features,
    task: Task,
    figures: dict[str, float],
    name: str,
    rng: np.random.Generator,
    origin=(0, 0),
    corrected: bool = False,
    answers: list[Answers] | None = None,
) -> torch.Tensor:
    """Loss of all prompts of a task; adds the mean IoUs to ``figures``, and to ``answers`` how they look.

    Clicked objects get, mostly, the box that the box head sees there, as users'
    clicks do. Where ``corrected``, they are answered a second time, with one or
    two more clicks where the first answer was wrong.
    """
    total, count = 0.0, 0
    scene = None if answers is None else model.scene(features)

    def answer(prompts: Prompts, target, weight, group) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        nonlocal total, count
        logits, quality = model.decode(features, prompts, origin)
        loss, iou = prompt_loss(logits, quality, target, weight, group)
        total, count = total + loss * len(group), count + len(group)
        if answers is not None:
            answers.append(Answers(mask_features(quality, logits, scene), iou, group))
        return logits, quality, iou

    for _, prompts, target, weight, group in task.parts():
        single = not group.any()
        clicked = single and prompts.points is not None
        if clicked and prompts.masks is None and rng.random() < SEEN_BOX:
            seen = model.boxes_at(features, prompts.points[:, 0], origin)
            loose = LOOSE * (seen[:, 2:] - seen[:, :2]).amax(dim=1, keepdim=True)
            noise = torch.from_numpy(rng.normal(0, 1, seen.shape).astype(np.float32))
            prompts.boxes = seen + noise * loose
        logits, quality, iou = answer(prompts, target, weight, group)
        error = (quality - iou).abs()
        if not single:
            figures[f"{name} group"] = iou[:, 0].mean().item()
            figures["iou error group"] = error[:, 0].mean().item()
            continue
        seen = prompts.boxes is not None and clicked
        kind = "box" if not clicked else "single seen" if seen else "single"
        figures[f"{name} {kind}"] = iou[:, 0].mean().item()
        figures[f"iou error {kind}"] = error.mean().item()
        if not corrected or not clicked or prompts.masks is not None:
            continue
        shift = np.array([origin[1], origin[0]], np.float32) * 16
        room = torch.full((len(group), CORRECTIONS), -1)
        points = torch.cat([prompts.points, torch.zeros(len(group), CORRECTIONS, 2)], dim=1).numpy()
        labels = torch.cat([prompts.labels, room], dim=1).numpy()
        wrong = (logits[:, 0].detach() > 0).numpy(), (target > 0.5).numpy()
        for _ in range(rng.integers(1, CORRECTIONS + 1)):
            add_corrections(rng, points, labels, *wrong, shift)
        used = max(1, int((labels >= 0).sum(axis=1).max()))
        more = Prompts(torch.from_numpy(points[:, :used]), torch.from_numpy(labels[:, :used]), prompts.boxes)
        figures[f"{name} corrected"] = answer(more, target, weight, group)[2][:, 0].mean().item()
    return total / max(count, 1)
