"""Fit the quality head: how good a drawn mask is, learned from scenes that the model has not seen.

``python -m research.training.quality MODEL.safetensors`` adds the head to an exported model, in
place. The model answers clicks, boxes and runs on canvases as in training, but
on synthetic scenes of other seeds; the head is fitted to the true IoUs of four fifths
of them, and the rest tells what that changed.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr
from torch import Tensor

from core.sam.networks.quality import PREFIX, QualityHead
from core.weights.verified_file import hash_file
from research.common.paths import MODEL_FILE
from research.training.cache import FOLDER as CACHE
from research.training.cache import fill_cache
from research.training.export import rewrite, to_half
from research.training.network import Trainee
from research.training.plates import ScenePlates
from research.training.state import of_sam, widened
from research.training.steps import Answers, Data, canvas_step, view_step

FOLDER = CACHE.parent / "quality_scenes"
SEEDS = {512: range(920_000, 920_030), 1024: range(930_000, 930_010)}  # by side in pixels
VIEWS = 320
CANVAS_SHARE = 0.3
OTHER_TOKENS = 0.3  # weight of the multimask tokens beside the single answer
STEPS, RATE, DECAY = 800, 1e-2, 1e-4  # of the fit; decay pulls the head's weights towards no influence


@dataclass
class Sample:
    """Answers one by one: how they look (N, ``N_FEATURES``), true IoU, weight and number of the view (N,)."""

    features: Tensor
    iou: Tensor
    weight: Tensor
    view: Tensor


def network_weights(path: Path) -> dict[str, Tensor]:
    """A model file's weights as training has them, but the quality head's, which are that one network's."""
    state = widened(load_file(path))
    return {name: value for name, value in state.items() if not name.startswith(PREFIX)}


def trainee_of(path: Path) -> Trainee:
    """The network of an exported model, as training has it."""
    model = Trainee()
    model.load_state_dict(of_sam(network_weights(path)))
    return model.eval()


@torch.no_grad()
def collect(model: Trainee, data: Data, views: int, seed: int = 0) -> Sample:
    """Answers in views and on canvases, drawn as in training."""
    rng, parts = np.random.default_rng(seed), []
    for number in range(views):
        found: list[Answers] = []
        large = rng.random() < 0.4
        if rng.random() < CANVAS_SHARE:
            canvas_step(model, data, rng, large, groups=4, singles=4, answers=found)
        else:
            view_step(model, data, rng, 1024 if large else 512, prompts=10, answers=found)
        for one in found:
            # groups are the first token's task alone
            weight = torch.where(one.group[:, None], 0.0, OTHER_TOKENS).repeat(1, one.iou.shape[1])
            weight[:, 0] = 1
            here = torch.full(weight.shape, number)
            parts.append([part.flatten(0, 1) for part in (one.features, one.iou, weight, here)])
    return Sample(*(torch.cat(part) for part in zip(*parts)))


def fit(sample: Sample, steps: int = STEPS) -> QualityHead:
    """The head whose estimates lie closest to the true IoUs, by weighted squares."""
    torch.manual_seed(0)
    head = QualityHead()
    first = head.layers[0]
    mean, spread = sample.features.mean(0), sample.features.std(0) + 1e-6
    standard = (sample.features - mean) / spread
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        error = (sample.weight * (head.judge(standard) - sample.iou) ** 2).sum() / sample.weight.sum()
        error.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # from here on the head takes the figures as they are
        first.weight /= spread
        first.bias -= first.weight @ mean
    return head.eval()


@torch.no_grad()
def report(head: QualityHead, sample: Sample) -> str:
    """Rank correlation and error on the fifth of the views that was not fitted to, before and after."""
    told = []
    chosen = (sample.view % 5 == 0) & (sample.weight == 1)
    true = sample.iou[chosen].numpy()
    figures = sample.features[chosen]
    estimates = {"SAM's own estimate": figures[:, 1].sigmoid(), "with the head": head.judge(figures)}
    for name, estimate in estimates.items():
        rank = spearmanr(estimate.numpy(), true).statistic
        error = np.abs(estimate.numpy() - true).mean()
        told.append(f"{name}: rank correlation {rank:.3f}, mean error {error:.3f}")
    return "; ".join(told)


def add_head(path: Path, head: QualityHead) -> None:
    """Write the head into a model file, in the place of one that is there."""
    state = network_weights(path)
    state |= to_half({f"{PREFIX}{name}": value for name, value in head.state_dict().items()})
    rewrite(path, state)


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(prog="python -m research.training.quality", description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=MODEL_FILE)
    parser.add_argument("--views", type=int, default=VIEWS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for side, seeds in SEEDS.items():
        fill_cache(FOLDER, seeds, side)
    data = Data(ScenePlates(FOLDER, 0, 10**6), [], [], [], [])
    sample = collect(trainee_of(arguments.model), data, arguments.views)
    fitted = sample.view % 5 != 0
    head = fit(Sample(*(part[fitted] for part in vars(sample).values())))
    print(f"{len(sample.iou)} answers; {report(head, sample)}")
    add_head(arguments.model, head)
    print(f"{arguments.model}: {arguments.model.stat().st_size} bytes, SHA-256 {hash_file(arguments.model)}")


if __name__ == "__main__":
    main()
