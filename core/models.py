"""The catalogue of weights: which networks there are and where their files lie."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .errors import InputError

RESOURCES = Path(__file__).resolve().parent.parent / "resources"


@dataclasses.dataclass(frozen=True)
class Model:
    """One entry of the catalogue.

    Attributes
    ----------
    name, title : str
        What the command line takes and what people read.
    shipped : Path or None
        The file that comes with Exemplar; None where the user brings one.
    showings : int
        In how many mirrorings a tile is shown to the encoder, 1 to 4, the runs
        shared among them: more where an encoding costs less than its runs.
    """

    name: str
    title: str
    shipped: Path | None = None
    showings: int = 1


EMBEDDED = Model("embedded", "Embedded: small, ready at once", RESOURCES / "exemplar-embedded.safetensors")
CATALOGUE = {
    model.name: model
    for model in (
        EMBEDDED,
        Model("vit_b", "SAM ViT-B, Meta's published file"),
        Model("vit_l", "SAM ViT-L, Meta's published file"),
        Model("vit_h", "SAM ViT-H, Meta's published file"),
    )
}


def weights_file(name: str, checkpoint: str | None) -> Path:
    """The file to load for a model: the user's checkpoint, or the shipped file."""
    if name not in CATALOGUE:
        raise InputError(f"There is no model {name!r}. Choose one of: {', '.join(CATALOGUE)}.")
    path = Path(checkpoint) if checkpoint else CATALOGUE[name].shipped
    if path is None:
        raise InputError(
            f"The model {name!r} needs its weights: download Meta's published file "
            f"and give its path with --checkpoint, or use --model {EMBEDDED.name}."
        )
    if not path.is_file():
        raise InputError(f"There is no weights file {path}. Check the path of the checkpoint.")
    return path
