"""What stands behind every image encoder here: segment-anything's prompt encoder and mask decoder."""

from __future__ import annotations

from typing import Any

from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

from core.sam.geometry import CELL, SIDE


def build_prompt_encoder_and_mask_decoder(
    width: int = 256, mlp_width: int = 2048, prompt_encoder: type[PromptEncoder] = PromptEncoder
) -> dict[str, Any]:
    """Build the two with random weights, as the arguments of ``Sam`` that take them.

    Parameters
    ----------
    width : int
        Channels of the embedding and of every prompt token; by default, as
        ``mlp_width``, that of the published networks.
    mlp_width : int
        Channels inside the transformer's perceptrons.
    prompt_encoder : type
        ``PromptEncoder`` or a class derived from it.
    """
    return {
        "prompt_encoder": prompt_encoder(
            embed_dim=width,
            image_embedding_size=(SIDE // CELL, SIDE // CELL),
            input_image_size=(SIDE, SIDE),
            mask_in_chans=16,
        ),
        "mask_decoder": MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=mlp_width, num_heads=8),
            transformer_dim=width,
            iou_head_depth=3,
            iou_head_hidden_dim=width,
        ),
    }
