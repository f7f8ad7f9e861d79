"""Train the embedded model on a processor.

``python -m research.training.train --minutes 100`` starts or, where its folder holds a
checkpoint, goes on. Stages: first the encoder under a light semantic head,
then, on crops and stitched canvases, the decoder alone if asked for, and everything.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch

from research.common.paths import BUILD, TRAINING_DATA
from research.training import cache
from research.training.backbone import backbone_weights
from research.training.network import Trainee
from research.training.pseudo import load_pseudo
from research.training.replicas import Replicas, Step
from research.training.state import State, of_sam, weights_of
from research.training.steps import Data, Outcome, canvas_step, crop_step, semantic_step, view_step
from research.training.validate import report, validation_set

RUNS = BUILD / "runs"
WARM_UP_STEPS = 60
CLIP = 1.0


def learning_rate(base: float, step: int, share: float) -> float:
    """Warm-up over steps, then half a cosine over the share (0 to 1) of the time that is gone."""
    return (
        base * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.5 * (1 + math.cos(math.pi * min(share, 1.0))) + 0.01)
    )


def update(state: State, rate: float) -> None:
    """One optimiser step along the gradient that is there; one that is not finite is left out."""
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["pace"]
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), CLIP)
    if torch.isfinite(norm):
        state.optimizer.step()
    state.step += 1
    state.average()


class Log:
    """Running means of the figures, printed now and then."""

    def __init__(self, every: int = 50):
        self.every = every
        self.values: dict[str, list[float]] = defaultdict(list)
        self.started = time.monotonic()

    def add(self, state: State, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.values["loss"].append(outcome.loss.item())
            for name, value in outcome.figures.items():
                self.values[name].append(value)
        if state.step % self.every == 0:
            pace = (time.monotonic() - self.started) / self.every
            means = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in sorted(self.values.items()))
            print(
                f"step {state.step} at {state.elapsed_s / 60:.1f} min ({pace:.2f} s/step): {means}",
                flush=True,
            )
            self.values.clear()
            self.started = time.monotonic()


def draw_step(rng: np.random.Generator, data: Data, stage: str, arguments: argparse.Namespace) -> Step:
    """Draw which kind of step comes next; all replicas take the same kind, since they wait for each other."""
    if stage == "semantic":

        def semantic(model: Trainee, draw: np.random.Generator) -> Outcome:
            model.freeze_batch_statistics()
            return semantic_step(model, data, draw)

        return semantic
    dice, large = rng.random(), rng.random() < arguments.large_share

    def everything(model: Trainee, draw: np.random.Generator) -> Outcome:
        model.freeze_batch_statistics()
        model.learn_encoder(stage == "everything")
        if dice < arguments.canvas_share:
            return canvas_step(model, data, draw, large)
        if dice < arguments.canvas_share + arguments.view_share:
            return view_step(model, data, draw, 1024 if large else 512)
        return crop_step(model, data, draw)

    return everything


def stage_at(minutes: float, arguments: argparse.Namespace) -> str:
    """Which stage the training is in: ``semantic``, then ``decoder``, then ``everything``."""
    if minutes < arguments.semantic_minutes:
        return "semantic"
    return "decoder" if minutes < arguments.semantic_minutes + arguments.decoder_minutes else "everything"


def rate_now(state: State, arguments: argparse.Namespace, stage_start: int) -> float:
    """Learning rate of the next step; each stage has a schedule of its own."""
    semantic_s = arguments.semantic_minutes * 60
    if state.elapsed_s < semantic_s:
        share, base = 0.9 * state.elapsed_s / semantic_s, arguments.semantic_rate
    else:
        end_s = (arguments.schedule_minutes or arguments.minutes) * 60
        share, base = (state.elapsed_s - semantic_s) / max(end_s - semantic_s, 1.0), arguments.rate
    return learning_rate(base, state.step - stage_start, share)


def begin(arguments: argparse.Namespace) -> State:
    """A new state, from general weights of the backbone and from an earlier model where they are given."""
    starts = []
    if arguments.backbone:
        starts.append(of_sam(backbone_weights(arguments.backbone)))
    if arguments.start:
        starts.append(weights_of(arguments.start))
    return State(arguments.seed, starts, arguments.half)


def train(arguments: argparse.Namespace) -> State:
    """Train until the time is used up; gives the final state."""
    checkpoint = arguments.run / "last.pt"
    state = State.load(checkpoint, arguments.half) if checkpoint.exists() else begin(arguments)
    pseudo = [] if arguments.pseudo is None else load_pseudo(arguments.pseudo, arguments.real)
    data = Data.open(arguments.scenes, arguments.real, pseudo, arguments.real_factor, arguments.whole)
    held_out = validation_set(arguments.scenes, arguments.real)
    replicas = Replicas(state.model, arguments.replicas)
    log, semantic_s = Log(), arguments.semantic_minutes * 60
    last_saved = last_validated = state.elapsed_s
    stage_start = state.step if state.elapsed_s < semantic_s else 0  # no second warm-up after a resume
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: stop.set())  # the step is finished and saved first
    while state.elapsed_s < arguments.minutes * 60 and state.step < arguments.steps and not stop.is_set():
        begun = time.monotonic()
        stage = stage_at(state.elapsed_s / 60, arguments)
        first = stage == "semantic"
        rate = rate_now(state, arguments, stage_start)
        step = draw_step(state.rng, data, stage, arguments)
        outcomes = replicas.gradient(step, state.rng)
        update(state, rate)
        state.elapsed_s += time.monotonic() - begun
        log.add(state, outcomes)
        if first and state.elapsed_s >= semantic_s:
            stage_start = state.step
            state.restart_average()
            print(f"step {state.step}: everything from here on", flush=True)
        if state.elapsed_s - last_saved > arguments.save_minutes * 60:
            state.save(checkpoint)
            last_saved = state.elapsed_s
        if not first and state.elapsed_s - last_validated > arguments.validate_minutes * 60:
            print(f"step {state.step} validation: {report(state.averaged(), held_out)}", flush=True)
            last_validated = state.elapsed_s
    state.save(checkpoint)
    if not stop.is_set():
        print(f"step {state.step} validation: {report(state.averaged(), held_out)}", flush=True)
    return state


def parser() -> argparse.ArgumentParser:
    """Command line of the training."""
    options = argparse.ArgumentParser(prog="python -m research.training.train", description=__doc__)
    options.add_argument("--run", type=Path, default=RUNS / "main", help="folder of the checkpoint")
    options.add_argument("--scenes", type=Path, default=cache.FOLDER)
    options.add_argument("--real", type=Path, default=TRAINING_DATA, help="real data; may be missing")
    options.add_argument(
        "--pseudo", type=Path, help="folder with pseudo-masks for the tiles that have boxes only"
    )
    options.add_argument("--real-factor", type=float, default=1, help="real pictures: rarer below 1")
    options.add_argument(
        "--whole",
        action="store_true",
        help="learn from the held-out fifths of real pictures, too, when nothing is left to choose by them",
    )
    options.add_argument("--backbone", type=Path, help="EfficientNet-Lite0 as published (see sources.md)")
    options.add_argument("--start", type=Path, help="model file or checkpoint to begin with, where it fits")
    options.add_argument("--minutes", type=float, default=100)
    options.add_argument("--schedule-minutes", type=float, help="where the rate reaches zero, if later")
    options.add_argument("--steps", type=float, default=math.inf, help="stop at this step, if the time lasts")
    options.add_argument("--semantic-minutes", type=float, default=9)
    options.add_argument(
        "--decoder-minutes", type=float, default=0, help="of what follows: the encoder stays as it is"
    )
    options.add_argument("--semantic-rate", type=float, default=2e-3)
    options.add_argument("--rate", type=float, default=8e-4)
    options.add_argument("--canvas-share", type=float, default=0.65)
    options.add_argument("--view-share", type=float, default=0.15)
    options.add_argument("--large-share", type=float, default=0.15)
    options.add_argument("--save-minutes", type=float, default=3)
    options.add_argument("--validate-minutes", type=float, default=10)
    options.add_argument("--threads", type=int, default=1, help="within one canvas")
    options.add_argument("--replicas", type=int, default=1, help="canvases at a time, each on its own core")
    options.add_argument("--half", action="store_true", help="multiply in bfloat16, where that is quicker")
    options.add_argument("--seed", type=int, default=0)
    return options


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    train(arguments)


if __name__ == "__main__":
    main()
