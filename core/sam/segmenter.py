"""SAM on a canvas: load weights, encode once, decode many prompt sets.

The network is built from segment-anything's own modules. Coordinates given to
it here are continuous canvas pixels (the first pixel spans 0 to 1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from segment_anything.modeling import Sam

from core.errors import CancelledError, InputError
from core.sam.answers import Decoded, Embedding
from core.sam.boxes import boxes_at
from core.sam.device import choose_device
from core.sam.fast.decoding import Decoder, ImageSide, Part, Read
from core.sam.fast.preprocess import preprocess
from core.sam.fast.speed_up import speed_up
from core.sam.geometry import CELL, LOGIT_STRIDE, SIDE
from core.sam.mask_selection import BestMasks, Keep, undrawn
from core.sam.networks import mobile_sam
from core.sam.networks.embedded import BoxHead, ConvEncoder, SemanticHead, build_embedded, pop_heads
from core.sam.networks.quality import QualityHead, Scene
from core.sam.networks.vit import build_vit
from core.sam.networks.widths import fit_widths
from core.sam.precision import lower
from core.weights import catalogue
from core.weights.state_dict import read_state_dict

BATCH = 4  # prompt sets decoded together: more are no quicker on a processor, and take more memory
BATCH_ACCELERATED = 32  # a graphics card needs more work at a time


class Segmenter:
    """A SAM with its weights on a device.

    Parameters
    ----------
    sam : Sam
        The network; moved to ``device``.
    name : str
        The model's name, as it goes into the detections' attributes.
    device : torch.device
    half : torch.dtype, optional
        Encode in this precision where the arithmetic bears it (autocast). Default: float32.
    semantic_head : SemanticHead, optional
        Answers what is where and where objects end, from the embedding.
    box_head : BoxHead, optional
        Answers how far the object at a place reaches, from the embedding.
    quality_head : QualityHead, optional
        Corrects the predicted IoU of masks that are drawn whole, by what the other two answer.
    identity : str, optional
        What tells these weights from all others, and how they are evaluated;
        without it no result can be kept for later (``core.pipeline.cache``).

    Examples
    --------
    One click on the middle of a canvas, answered with one mask:

    >>> segmenter = Segmenter.load("embedded", device="cpu")
    >>> embedding = segmenter.encode(np.zeros((1024, 1024, 3), np.uint8))
    >>> segmenter.decode(embedding, np.array([[[512.0, 512.0]]]), np.array([[1]])).logits.shape
    (1, 1, 256, 256)
    """

    def __init__(
        self,
        sam: Sam,
        name: str,
        device: torch.device | str = "cpu",
        half: torch.dtype | None = None,
        semantic_head: SemanticHead | None = None,
        box_head: BoxHead | None = None,
        quality_head: QualityHead | None = None,
        identity: str | None = None,
    ):
        self.sam = sam.to(device).eval()
        # Convolutions of few channels are half as fast again with the channels last on a processor.
        self._channels_last = torch.device(device).type == "cpu" and isinstance(
            sam.image_encoder, (ConvEncoder, mobile_sam.TinyVitEncoder)
        )
        if self._channels_last:
            self.sam.image_encoder.to(memory_format=torch.channels_last)
        self._semantic_head = semantic_head and semantic_head.to(device).eval()
        self._box_head = box_head and box_head.to(device).eval()
        self._quality_head = quality_head and quality_head.to(device).eval()
        self.knows_borders = semantic_head is not None
        self.name = name
        self.device = torch.device(device)
        self._half = half
        precision = half or getattr(sam.image_encoder, "beyond_stem", None)
        evaluated = f"{self.device.type} {precision} torch {torch.__version__}"
        self.identity = identity and f"{name} {identity} {evaluated}"
        self._batch = BATCH if self.device.type == "cpu" else BATCH_ACCELERATED
        with torch.inference_mode():
            self._decoder = Decoder(self.sam)
        self._side: ImageSide | None = None  # of the canvas that was decoded last

    @classmethod
    def load(
        cls,
        name: str,
        checkpoint: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        *,
        fast: bool = True,
    ) -> Segmenter:
        """Load a model of the catalogue, in a precision of :func:`core.sam.precision.half_of`.

        A file of another network raises ``InputError``, and so does one whose content is
        not the catalogue's, unless it is given as a checkpoint. Without ``fast`` the
        encoder and the heads are evaluated as their architecture says, which takes longer.
        """
        with catalogue.open_weights(name, checkpoint) as (path, file, sha256):
            state, heads = read_state_dict(path, file), {}
        if name == mobile_sam.NAME:
            sam, state = mobile_sam.build_mobile_sam(), mobile_sam.from_published(state)
        else:
            sam = build_embedded() if name == catalogue.EMBEDDED.name else build_vit(name)
        try:
            if name == catalogue.EMBEDDED.name:
                heads = pop_heads(state)
                fit_widths(sam, state)
            sam.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise InputError(
                f"{path} is no checkpoint of the model {name!r}. Choose the file that belongs to it."
            ) from error
        if fast:
            speed_up(sam, heads.values())
        chosen = choose_device(device)
        half = lower(sam.image_encoder, precision, chosen)
        return cls(sam, name, chosen, half, identity=f"{sha256} {'fast' if fast else 'plain'}", **heads)

    @torch.inference_mode()
    def encode(self, image_canvas: np.ndarray) -> Embedding:
        """Encode a canvas of shape (H, W, 3), uint8, at most 1024 x 1024, not resized."""
        image = torch.as_tensor(np.ascontiguousarray(image_canvas), device=self.device)
        padded = preprocess(self.sam, image)
        if not self._channels_last:
            padded = padded.contiguous()
        features = self._features(padded, self._half)
        if self._half and not features.isfinite().all():  # a number was too large for half precision
            features = self._features(padded, None)
        return Embedding(features, image_canvas.shape[:2], **self._answers(features))

    def _answers(self, features: torch.Tensor) -> dict[str, np.ndarray]:
        """What the heads answer, by its name in an embedding."""
        answers = {}
        if self._semantic_head is not None:
            classes, borders = self._semantic_head.answer(features)
            answers |= {"classes": _array(classes[0]), "borders": _array(borders[0, 0])}
        if self._box_head is not None:
            answers["reach"] = _array(self._box_head(features)[0])
        return answers

    def embedding_of(
        self, features: np.ndarray, shape_canvas: tuple[int, int], **answers: np.ndarray
    ) -> Embedding:
        """An embedding that was computed before, on this network's device; ``answers`` are the heads'."""
        # a copy: what the cache holds is shared, and torch takes no read-only memory
        return Embedding(torch.tensor(features, device=self.device), shape_canvas, **answers)

    def _features(self, image: torch.Tensor, half: torch.dtype | None) -> torch.Tensor:
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            return self.sam.image_encoder(image).float()

    @torch.inference_mode()
    def decode(
        self,
        embedding: Embedding,
        points_canvas: np.ndarray,
        labels: np.ndarray,
        *,
        boxes_canvas: np.ndarray | None = None,
        mask_logits: np.ndarray | None = None,
        multimask: bool = False,
        keep: Keep | None = None,
        part_canvas: tuple[slice, slice] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Decoded:
        """Decode prompt sets in batches.

        Parameters
        ----------
        embedding : Embedding
        points_canvas : ndarray, shape (R, N, 2)
            x, y of each run's points in canvas pixels.
        labels : ndarray, shape (R, N)
            1 positive, 0 negative, -1 no point.
        boxes_canvas : ndarray, shape (R, 4), optional
            x0, y0, x1, y1 of each run's box in canvas pixels.
        mask_logits : ndarray, shape (R, 256, 256), optional
            Each run's earlier answer, to be refined: low-resolution logits.
        multimask : bool
            Three masks for one ambiguous prompt, or one.
        keep : Keep, optional
            Draw the best masks only. Default: all of them.
        part_canvas : tuple of slice, optional
            Rows and columns of the canvas, on multiples of 16 pixels, on which
            masks are wanted. Default: SAM's whole square.
        cancelled : callable
            Asked between two batches.

        Raises
        ------
        CancelledError
        """
        side, part = self._prepared(embedding), _cells(part_canvas)
        scene = None if part_canvas else self._scene(embedding)
        seen_part = _cells(keep.seen_canvas) if keep and keep.judge else None
        logits, iou_pred, best = [], [], BestMasks(keep) if keep else None
        for start in range(0, len(points_canvas), self._batch):
            if cancelled():
                raise CancelledError
            batch = slice(start, start + self._batch)
            # segment-anything takes pixel indices and adds the half pixel itself
            points = self._tensor(points_canvas[batch] - 0.5)
            read = self._decoder.read(
                side,
                (points, self._tensor(labels[batch])) if points.shape[1] else None,
                None if boxes_canvas is None else self._tensor(boxes_canvas[batch] - 0.5),
                None if mask_logits is None else self._tensor(mask_logits[batch])[:, None],
                multimask=multimask,
            )
            if best is None:
                drawn = self._decoder.draw(read.cells, read.kernels, part)
                logits.append(_array(drawn))
                iou_pred.append(_array(self._judged(read.iou_pred, drawn, scene)))
            else:
                best.add(start, read, self._drawn(read, seen_part) if seen_part else None)
        if best is not None:
            kept = self._draw_best(best, part, seen_part, cancelled)
            if scene is None or not len(kept.logits):
                return kept
            judged = self._judged(self._tensor(kept.iou_pred), self._tensor(kept.logits), scene)
            return dataclasses.replace(kept, iou_pred=_array(judged))
        return Decoded(np.concatenate(logits), np.concatenate(iou_pred))

    def click(
        self, embedding: Embedding, points_canvas: np.ndarray, labels: np.ndarray, **options
    ) -> Decoded:
        """Decode prompt sets that mean one object each, the first point on it.

        As :meth:`decode`, which takes the same ``options``; the first point's box
        goes with the points where the network has one to offer (``core.sam.boxes``).
        """
        if embedding.reach is not None:
            options["boxes_canvas"] = boxes_at(embedding.reach, points_canvas[:, 0])
        return self.decode(embedding, points_canvas, labels, **options)

    def _prepared(self, embedding: Embedding) -> ImageSide:
        if self._side is None or self._side.features is not embedding.features:
            self._side = None  # its memory is needed now
            self._side = self._decoder.prepare(embedding.features)
        return self._side

    def _scene(self, embedding: Embedding) -> Scene | None:
        """What masks that are drawn whole are judged by; None where there is nobody to judge them."""
        heads = embedding.classes, embedding.borders, embedding.reach
        if self._quality_head is None or any(answer is None for answer in heads):
            return None
        height, width = (-(-side // LOGIT_STRIDE) for side in embedding.shape_canvas)
        # copies: what comes from the cache is read-only, which torch warns of
        seen = (torch.tensor(answer, dtype=torch.float32, device=self.device) for answer in heads)
        return Scene.of(*seen, (height, width))

    def _judged(self, iou_pred: torch.Tensor, logits: torch.Tensor, scene: Scene | None) -> torch.Tensor:
        """Predicted IoU (R, K) of masks; of the square, the image's part counts."""
        if scene is None:
            return iou_pred
        height, width = scene.objects.shape
        return self._quality_head(iou_pred.float(), logits[..., :height, :width].float(), scene)

    def _drawn(self, read: Read, part: tuple[slice, slice]) -> np.ndarray:
        return _array(self._decoder.draw(read.cells, read.kernels, part))

    def _draw_best(
        self, best: BestMasks, part: Part, seen_part: Part | None, cancelled: Callable[[], bool]
    ) -> Decoded:
        logits, rest = [], undrawn(part, seen_part)
        for number, one in enumerate(best.kept):
            if number % self._batch == 0 and cancelled():
                raise CancelledError
            drawn = _array(self._decoder.draw([one.cells], one.kernel, rest or part))
            logits.append(np.concatenate([one.seen[None, None], drawn], axis=-1) if rest else drawn)
        shape = (1, *((along.stop - along.start) * CELL // LOGIT_STRIDE for along in part))
        return Decoded(
            np.concatenate([np.zeros((0, *shape), np.float32), *logits]),
            np.array([[one.iou_pred] for one in best.kept], np.float32).reshape(-1, 1),
            np.array([(one.run, one.mask) for one in best.kept], np.int64).reshape(-1, 2),
        )

    @torch.inference_mode()
    def masks(self, embedding: Embedding, decoded: Decoded) -> np.ndarray:
        """Masks of bool, shape (R, K, H, W), in canvas pixels, as segment-anything enlarges logits."""
        logits = self._tensor(decoded.logits)
        full = self.sam.postprocess_masks(logits, embedding.shape_canvas, embedding.shape_canvas)
        return (full > self.sam.mask_threshold).cpu().numpy()

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()


def _cells(part_canvas: tuple[slice, slice] | None) -> tuple[slice, slice]:
    """A part of the canvas as rows and columns of the embedding."""
    parts = []
    for along in part_canvas or (slice(None), slice(None)):
        start, stop, step = along.indices(SIDE)
        if start % CELL or stop % CELL or step != 1:
            raise ValueError(f"A part of the canvas must lie on multiples of {CELL} pixels, not {along}.")
        parts.append(slice(start // CELL, stop // CELL))
    return parts[0], parts[1]
