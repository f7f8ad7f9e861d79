"""SAM on a canvas: load weights safely, encode once, decode many prompt sets.

The network is built from segment-anything's own modules. Coordinates given to
it here are continuous canvas pixels (the first pixel spans 0 to 1).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from . import mobile_sam, models
from .embedded import ConvEncoder, build_embedded
from .errors import CancelledError, InputError

LOGIT_STRIDE = 4  # canvas pixels per pixel of SAM's low-resolution masks
BATCH = 8  # prompt sets decoded together: their arrays fit the processor's cache, and a cancel is quick

# Published sizes of Meta's encoders: width, blocks, heads, blocks with global attention.
VIT = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}


@dataclasses.dataclass(frozen=True)
class Embedding:
    """A canvas as SAM's encoder sees it.

    Attributes
    ----------
    features : Tensor, shape (1, C, 64, 64)
        One cell per 16 x 16 canvas pixels; cells beyond the canvas are padding.
    shape_canvas : tuple of int
        Height and width of the canvas in pixels.
    """

    features: torch.Tensor
    shape_canvas: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Decoded:
    """What SAM answered to a batch of prompt sets.

    Attributes
    ----------
    logits : ndarray of float32, shape (R, K, 256, 256)
        Masks before thresholding at 0; one pixel per 4 x 4 canvas pixels.
        K is 1, or 3 with ``multimask``.
    iou_pred : ndarray of float32, shape (R, K)
        SAM's own estimate of each mask's IoU.
    """

    logits: np.ndarray
    iou_pred: np.ndarray


def build_vit(name: str) -> Sam:
    """Build Meta's SAM with random weights, without the published builder.

    The published one unpickles the checkpoint, which can run code.
    """
    width, depth, heads, global_blocks = VIT[name]
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=1024,
            patch_size=16,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=4,
            out_chans=256,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=global_blocks,
            window_size=14,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=256,
            image_embedding_size=(64, 64),
            input_image_size=(1024, 1024),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
            transformer_dim=256,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    ).eval()


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read weights without running code from the file, and without keeping it open."""
    wrong = InputError(f"{path} holds no weights that can be read safely. Choose a SAM checkpoint.")
    try:
        if path.suffix == ".safetensors":
            state = load_safetensors(path.read_bytes())
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the sentence below says all that the user needs
                state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}.") from error
    except Exception as error:  # damaged files make torch fail in many ways
        raise wrong from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise wrong
    return {key: value.float() for key, value in state.items()}


def choose_device(device: str) -> torch.device:
    """Turn ``auto`` into the best device there is; refuse one that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if device not in there:
        raise InputError(f"There is no device {device!r}. Choose one of: auto, {', '.join(there)}.")
    if not there[device]:
        raise InputError(f"This computer offers no {device} device. Use --device auto or cpu.")
    return torch.device(device)


class Segmenter:
    """A SAM with its weights on a device.

    Parameters
    ----------
    sam : Sam
        The network; moved to ``device``.
    name : str
        The model's name, as it goes into the detections' attributes.
    device : torch.device
    """

    def __init__(self, sam: Sam, name: str, device: torch.device | str = "cpu"):
        self.sam = sam.to(device).eval()
        # Convolutions of few channels are half as fast again with the channels last on a processor.
        self._channels_last = torch.device(device).type == "cpu" and isinstance(
            sam.image_encoder, (ConvEncoder, mobile_sam.TinyVitEncoder)
        )
        if self._channels_last:
            self.sam.image_encoder.to(memory_format=torch.channels_last)
        self.name = name
        self.device = torch.device(device)

    @classmethod
    def load(cls, name: str, checkpoint: str | None = None, device: str = "auto") -> Segmenter:
        """Load a model of the catalogue; a file of another network raises ``InputError``."""
        path = models.weights_file(name, checkpoint)
        state = read_state_dict(path)
        if name == mobile_sam.NAME:
            sam, state = mobile_sam.build_mobile_sam(), mobile_sam.from_published(state)
        else:
            sam = build_embedded() if name == models.EMBEDDED.name else build_vit(name)
        try:
            sam.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise InputError(
                f"{path} is no checkpoint of the model {name!r}. Choose the file that belongs to it."
            ) from error
        return cls(sam, name, choose_device(device))

    @torch.inference_mode()
    def encode(self, image_canvas: np.ndarray) -> Embedding:
        """Encode a canvas of shape (H, W, 3), uint8, at most 1024 x 1024, not resized."""
        image = torch.as_tensor(np.ascontiguousarray(image_canvas), device=self.device)
        padded = self.sam.preprocess(image.permute(2, 0, 1).float())[None]
        if self._channels_last:
            padded = padded.contiguous(memory_format=torch.channels_last)
        return Embedding(self.sam.image_encoder(padded), image_canvas.shape[:2])

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
        cancelled : callable
            Asked between two batches.

        Raises
        ------
        CancelledError
        """
        logits, iou_pred = [], []
        for start in range(0, len(points_canvas), BATCH):
            if cancelled():
                raise CancelledError
            batch = slice(start, start + BATCH)
            # segment-anything takes pixel indices and adds the half pixel itself
            points = self._tensor(points_canvas[batch] - 0.5)
            kinds = self._tensor(labels[batch])
            sparse, dense = self.sam.prompt_encoder(
                points=(points, kinds) if points.shape[1] else None,
                boxes=None if boxes_canvas is None else self._tensor(boxes_canvas[batch] - 0.5),
                masks=None if mask_logits is None else self._tensor(mask_logits[batch])[:, None],
            )
            masks, quality = self.sam.mask_decoder(
                image_embeddings=embedding.features,
                image_pe=self.sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask,
            )
            logits.append(masks.float().cpu().numpy())
            iou_pred.append(quality.float().cpu().numpy())
        return Decoded(np.concatenate(logits), np.concatenate(iou_pred))

    @torch.inference_mode()
    def masks(self, embedding: Embedding, decoded: Decoded) -> np.ndarray:
        """Masks of bool, shape (R, K, H, W), in canvas pixels, as segment-anything enlarges logits."""
        logits = self._tensor(decoded.logits)
        full = self.sam.postprocess_masks(logits, embedding.shape_canvas, embedding.shape_canvas)
        return (full > self.sam.mask_threshold).cpu().numpy()

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)
