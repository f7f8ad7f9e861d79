"""Meta's published image encoders: ViT-B, ViT-L and ViT-H behind segment-anything's own modules."""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, Sam

from core.sam.networks.mask_decoder import build_prompt_encoder_and_mask_decoder

# Published sizes of Meta's encoders: width, blocks, heads, blocks with global attention.
VIT = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}


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
        **build_prompt_encoder_and_mask_decoder(),
    ).eval()
