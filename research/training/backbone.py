"""The backbone's general weights: EfficientNet-Lite0 as its authors trained it on ImageNet.

``sources.md`` says where the file comes from. It names its tensors as another
implementation does, in the same order as timm's.
"""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import Tensor

NAME = "tf_efficientnet_lite0"
PREFIX = "image_encoder.backbone."


def backbone_weights(path: Path) -> dict[str, Tensor]:
    """Read the published weights under the names that the embedded model gives them.

    Parameters
    ----------
    path : Path
        ``efficientnet-lite0-57934424.pth``.

    Raises
    ------
    ValueError
        Where the file holds another network.
    """
    published = torch.load(path, map_location="cpu", weights_only=True)
    values = [value for name, value in published.items() if not name.endswith("num_batches_tracked")]
    own = timm.create_model(NAME, pretrained=False).state_dict()
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    if len(names) != len(values) or any(own[n].shape != v.shape for n, v in zip(names, values)):
        raise ValueError(f"{path} does not hold EfficientNet-Lite0")
    # the classifier's layers have no place in the encoder and are left out where the state is loaded
    return {PREFIX + name: value for name, value in zip(names, values, strict=True)}
