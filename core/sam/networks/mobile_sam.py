"""MobileSAM: Meta's prompt encoder and mask decoder behind a TinyViT image encoder.

Source: Zhang et al., *Faster Segment Anything* (arXiv 2306.14289), section 3;
Wu et al., *TinyViT* (arXiv 2207.10666). The encoder is timm's TinyViT, so the
names in the published checkpoint have to be mapped to timm's.
"""

from __future__ import annotations

import re

from segment_anything.modeling import Sam
from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

from core.sam.geometry import SIDE
from core.sam.networks.mask_decoder import build_prompt_encoder_and_mask_decoder

NAME = "mobile_sam"  # in the catalogue
WIDTH = 256  # channels of the embedding, and of every prompt token


class TinyVitEncoder(nn.Module):
    """Image encoder: TinyViT-5M whose last stage keeps the resolution, then SAM's neck.

    Attributes
    ----------
    img_size : int
        Side of the canvas that ``Sam.preprocess`` pads to, in canvas pixels.
    """

    def __init__(self):
        super().__init__()
        self.img_size = SIDE  # read by Sam.preprocess and SamPredictor
        # The class, not timm's registry: other packages register their own networks under its names.
        whole = TinyVit(
            num_classes=0,
            embed_dims=(64, 128, 160, 320),
            depths=(2, 2, 6, 2),
            num_heads=(2, 4, 5, 10),
            window_sizes=(7, 7, 14, 7),
            drop_path_rate=0.0,
        )
        # TinyViT halves the resolution before its last stage; SAM's decoder wants cells of 16 pixels.
        whole.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.patch_embed, self.stages = whole.patch_embed, whole.stages  # the classifier's head is left out
        self.neck = nn.Sequential(
            nn.Conv2d(whole.num_features, WIDTH, 1, bias=False),
            LayerNorm2d(WIDTH),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
            LayerNorm2d(WIDTH),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed images of shape (B, 3, 1024, 1024) to (B, 256, 64, 64)."""
        return self.neck(self.stages(self.patch_embed(x)))


def build_mobile_sam() -> Sam:
    """Build MobileSAM with random weights, in evaluation mode."""
    return Sam(image_encoder=TinyVitEncoder(), **build_prompt_encoder_and_mask_decoder(WIDTH)).eval()


def _name_here(published: str) -> str:
    """Our name of a tensor of the published image encoder."""
    # The published stages end with the downsampling to the next; timm's begin with their own.
    name = re.sub(
        r"^layers\.(\d+)\.downsample\.", lambda found: f"stages.{int(found[1]) + 1}.downsample.", published
    )
    name = re.sub(r"^layers\.", "stages.", name)
    name = re.sub(r"^patch_embed\.seq\.0\.", "patch_embed.conv1.", name)
    name = re.sub(r"^patch_embed\.seq\.2\.", "patch_embed.conv2.", name)  # seq.1 is the activation
    return re.sub(r"\.c\.weight$", ".conv.weight", name)


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of the published checkpoint the names of :func:`build_mobile_sam`.

    Parameters
    ----------
    state : dict of str to Tensor
        The published file's content. What is not MobileSAM's keeps its name, so
        that a strict loading refuses it.

    Returns
    -------
    dict of str to Tensor
        The same tensors, without the classifier's head, which the published
        file holds and no mask needs.
    """
    prefix, head = "image_encoder.", ("image_encoder.norm_head.", "image_encoder.head.")
    return {
        prefix + _name_here(key.removeprefix(prefix)) if key.startswith(prefix) else key: value
        for key, value in state.items()
        if not key.startswith(head)
    }
