"""The class prior: what the network's own classes add to the score map."""

from __future__ import annotations

import numpy as np

from core.canvas.stitch import Canvas
from core.sam.geometry import LOGIT_STRIDE
from core.sam.networks.embedded import SemanticHead
from core.voting.resampling import to_canvas_grid, to_coarse_grid

CLASS_WEIGHT = 0.3  # of the network's own class; less than WEAK_THRESHOLD: by itself it finds nothing, …
TRUSTED = 0.5  # … unless the runs give back less than this of the example: then they say less, and it more
SUREST = 0.3  # a class that is less sure on the example is not blown up beyond this


def with_class_prior(
    relative: np.ndarray, classes: np.ndarray, canvas: Canvas, target: str, trust: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Let the class that the network takes the example for have a say in the score map (H, W).

    An example that is unlike others of its kind finds more of them so. Where the
    network takes it for nothing that it knows, the runs alone speak; but runs that
    do not even give back the example are no evidence. The less they do
    (``trust``, 0 to 1), the more the class says; that of the target, if need be.
    The probability (H, W) of the class is given too, where the network does know the example.
    """
    inside = to_coarse_grid(canvas.example, classes.shape[1:])
    on_example = [float((one * inside).sum() / inside.sum()) for one in classes]
    kind, own = int(np.argmax(on_example)), 1 - CLASS_WEIGHT
    if is_known := kind > 0:
        own *= trust
    elif target in SemanticHead.CLASSES:
        kind, own = SemanticHead.CLASSES.index(target), trust
    else:
        return relative, None
    probability = to_canvas_grid(classes[kind], relative.shape, LOGIT_STRIDE)
    share = np.clip(probability / max(on_example[kind], SUREST), 0, 1)
    return own * relative + (1 - own) * share, probability if is_known else None
