"""The catalogue of weights: which networks there are, where their files come from and where they lie."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from platformdirs import PlatformDirs

from core.errors import InputError
from core.weights.verified_file import (
    Cancelled,
    Progress,
    copy_verified,
    hash_file,
    hash_open,
    in_words,
    length_of,
    open_file,
)

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
FOLDER_VARIABLE = "EXEMPLAR_MODELS"


@dataclasses.dataclass(frozen=True)
class Model:
    """One entry of the catalogue.

    Attributes
    ----------
    name, title : str
        What the command line takes and what people read.
    size : int
        The file's length in bytes.
    sha256 : str
        The file's SHA-256.
    licence : str
        Of the weights, as SPDX names it.
    memory : int
        Bytes that the engine takes at its peak with it on a processor, roughly. For the large
        ones that is while they are loaded, when the file and the network are both in memory.
    suits : str
        The device it is for.
    shipped : Path or None
        The file that comes with Exemplar.
    address : str
        Where the file is published; empty for the shipped one.
    sources : tuple of str
        Independent public places that state this ``sha256``, none of them the server
        that the file is fetched from.
    views : int
        In how many mirrorings a tile is shown to the encoder, 1 to 4, the runs
        shared among them: more where an encoding costs less than its runs.
    """

    name: str
    title: str
    size: int
    sha256: str
    licence: str
    memory: int
    suits: str
    shipped: Path | None = None
    address: str = ""
    sources: tuple[str, ...] = ()
    views: int = 1

    @property
    def confirmed(self) -> bool:
        """Whether two independent sources state the hash; if not, the user has to bring it."""
        return self.shipped is not None or len(self.sources) >= 2

    @property
    def file(self) -> Path:
        """Where the file lies, or will lie."""
        return self.shipped or models_folder() / self.address.rsplit("/", 1)[-1]

    @property
    def here(self) -> bool:
        """Whether the file is there in its full length; its content is compared where it is loaded."""
        length = length_of(self.file)
        return length is not None and (self.shipped is not None or length == self.size)

    def describe(self) -> dict[str, Any]:
        """The entry as plain objects, for the protocol and for ``models list --json``.

        Where the models' folder can't be told or read, nothing is here: the engine greets all the
        same, and who wants a model is told why.
        """
        names = ("name", "title", "size", "sha256", "licence", "memory", "suits", "address", "sources")
        told = {name: getattr(self, name) for name in names}
        told |= {"sources": list(self.sources), "confirmed": self.confirmed, "file": "", "here": False}
        with contextlib.suppress(InputError):
            told["file"] = str(self.file)
            told["here"] = self.here
        return told


EMBEDDED = Model(
    "embedded",
    "Embedded (small)",
    size=8_560_002,  # both change with the file: tests/core/weights/test_catalogue.py says to what
    # pragma: allowlist nextline secret (a checksum that all may know)
    sha256="958f4f0605249c6876894706fb1079840e59eebaa5c734bc44fdacf576887c6c",
    licence="GPL-2.0-or-later",
    memory=1_500_000_000,
    suits="any computer",
    shipped=RESOURCES / "exemplar-embedded.safetensors",
    views=4,
)

# Each hash was compared in sources of different people. The six digits in the names of Meta's files are the
# beginning of their MD5 (01ec64d2…, 0b319550…, 4b8939a8…), no check of a SHA-256. The lengths of Meta's files
# are also in dafne-imaging/dafne, src/dafne/utils/sam_mask_refine.py at 11608b28.
_MICRO_SAM = "github.com/computational-cell-analytics/micro-sam, micro_sam/util.py at 00006fc6"
_SLICER = "github.com/mazurowski-lab/SlicerSegmentWithSAM, SegmentWithSAM/SegmentWithSAM.py at 09079a98"
_EXECUTORCH = (
    "github.com/pytorch/executorch, examples/arm/mobilesam_prompt_segmentation_example_ethos_u/"
    "model_export/export_mobilesam.py at 4651e011"
)
_META = "https://dl.fbaipublicfiles.com/segment_anything/"

CATALOGUE = {
    model.name: model
    for model in (
        EMBEDDED,
        Model(
            "vit_b",
            "SAM ViT-B (Meta)",
            size=375_042_383,
            # pragma: allowlist nextline secret (a checksum that all may know)
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            licence="Apache-2.0",
            memory=2_000_000_000,
            suits="a fast computer, best with a GPU",
            address=_META + "sam_vit_b_01ec64.pth",
            sources=(_MICRO_SAM, _SLICER),
        ),
        Model(
            "vit_l",
            "SAM ViT-L (Meta)",
            size=1_249_524_607,
            # pragma: allowlist nextline secret (a checksum that all may know)
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            licence="Apache-2.0",
            memory=3_700_000_000,
            suits="a GPU",
            address=_META + "sam_vit_l_0b3195.pth",
            sources=(_MICRO_SAM, _SLICER),
        ),
        Model(
            "vit_h",
            "SAM ViT-H (Meta)",
            size=2_564_550_879,
            # pragma: allowlist nextline secret (a checksum that all may know)
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            licence="Apache-2.0",
            memory=6_500_000_000,
            suits="a GPU",
            address=_META + "sam_vit_h_4b8939.pth",
            sources=(_MICRO_SAM, _SLICER),
        ),
        Model(
            "mobile_sam",
            "MobileSAM",
            size=40_728_226,
            # pragma: allowlist nextline secret (a checksum that all may know)
            sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            licence="Apache-2.0",
            memory=1_500_000_000,
            suits="any computer",
            # a fixed commit, so that the address keeps meaning this file
            address="https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/"
            "f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights/mobile_sam.pt",
            sources=(_MICRO_SAM, _EXECUTORCH),
        ),
    )
}


def cache_folder() -> Path:
    """The folder for what can be fetched or computed again, by the platform's custom.

    ``RuntimeError``, as of ``Path.home``, where that is in the user's home and nobody's is known.
    """
    folder = PlatformDirs("exemplar", appauthor=False).user_cache_path
    if not folder.is_absolute():
        raise RuntimeError(f"{folder} lies in a home that is not known")
    return folder


def named_folder(variable: str, environ: Mapping[str, str]) -> Path | None:
    """The folder that a variable names, ``~`` for the user's home; None where it names none.

    ``InputError`` for a relative one: it would mean another folder to the engine, which QGIS starts where
    everyone may write, than to the command line. ``RuntimeError`` where nobody's home is known.
    """
    named = environ.get(variable)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_absolute():
        raise InputError(f"{variable} is {named!r}, which is no full path. Give the folder's full path.")
    return folder


def models_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where downloaded and imported weights lie: ``EXEMPLAR_MODELS``, or ``models`` in the cache folder.

    ``InputError`` where that is in a home that is not known, or no full path.
    """
    named = environ.get(FOLDER_VARIABLE)
    try:
        return named_folder(FOLDER_VARIABLE, environ) or cache_folder() / "models"
    except RuntimeError as error:
        which = f"{FOLDER_VARIABLE} is {named!r}, which" if named else "The models' folder"
        raise InputError(
            f"{which} can't be found on this computer. Give a folder's full path in {FOLDER_VARIABLE}."
        ) from error


def find_model(name: str) -> Model:
    """The entry of a name; ``InputError`` where there is none."""
    if name not in CATALOGUE:
        raise InputError(f"There is no model {name!r}. Choose one of: {', '.join(CATALOGUE)}.")
    return CATALOGUE[name]


def weights_file(name: str, checkpoint: str | None) -> Path:
    """The file to load for a model: the user's checkpoint, the shipped file, or the one in the folder.

    Only the length of a published file is looked at here, its content by :func:`open_weights`.
    """
    model = find_model(name)
    path = Path(checkpoint) if checkpoint else model.file
    if (length := length_of(path)) is not None:
        if checkpoint or model.shipped or length == model.size:
            return path
        raise InputError(
            f"{path} is not whole ({length:,} of {model.size:,} bytes). "
            f"Remove it and download the model again (models download {name})."
        )
    if checkpoint or model.shipped:
        raise InputError(f"There is no weights file {path}. Check the path of the checkpoint.")
    raise InputError(
        f"The weights of the model {name!r} are not on this computer. Download them ({in_words(model.size)}: "
        f"models download {name}, in QGIS the button in the dock), or give their file with --checkpoint."
    )


@contextlib.contextmanager
def open_weights(name: str, checkpoint: str | None) -> Iterator[tuple[Path, BinaryIO, str]]:
    """A model's weights, open: their path, the file at its beginning and the SHA-256 of its content.

    What is read from the file is what was hashed, whatever takes its name meanwhile.
    A checkpoint may hold anything; without one the content has to be the catalogue's.

    Raises
    ------
    InputError
        Where there are no weights, or others than the published ones.
    """
    model, path = find_model(name), weights_file(name, checkpoint)
    if not (checkpoint or model.confirmed):  # whose hash the user trusted then is not remembered
        raise InputError(
            f"The SHA-256 of {name!r} could not be confirmed from two sources, so its name alone is not "
            f"enough. If you trust {path}, give it with --checkpoint."
        )
    with open_file(path) as file:
        sha256 = hash_open(file, path)
        if not checkpoint and sha256 != model.sha256:
            raise _another(model, path, sha256)
        yield path, file, sha256


def download_model(
    name: str,
    trusted_sha256: str | None = None,
    *,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
) -> Path:
    """Have a model's file in its place, verified; an intact file that is there is kept.

    Parameters
    ----------
    name : str
        Of the catalogue.
    trusted_sha256 : str, optional
        For a model whose hash is not confirmed: the one that the user trusts.

    Raises
    ------
    InputError, CancelledError
    """
    from core.weights.fetch import download  # what asks the web takes a while to load

    model, sha256 = _to_bring(name, trusted_sha256)
    if not (model.here and hash_file(model.file, progress=progress, cancelled=cancelled) == sha256):
        download(model.address, model.file, model.size, sha256, progress=progress, cancelled=cancelled)
    return model.file


def import_model(
    name: str,
    file: str,
    trusted_sha256: str | None = None,
    *,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
) -> Path:
    """Copy the published file, which the user has, to its place; any other file is refused."""
    model, sha256 = _to_bring(name, trusted_sha256)
    source = Path(file)
    if (size := length_of(source)) is None:
        raise InputError(f"There is no file {source}. Check its path.")
    if size != model.size:
        raise InputError(
            f"{source} has {size:,} bytes and the published file of {name!r} {model.size:,}: it is not that "
            "file or not whole. Give weights of your own with --checkpoint."
        )
    copy_verified(source, model.file, sha256, progress=progress, cancelled=cancelled)
    return model.file


def verify_model(
    name: str,
    trusted_sha256: str | None = None,
    *,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
) -> Path:
    """Compare a model's file with the catalogue; ``InputError`` where it is missing or another one."""
    model = find_model(name)
    path = weights_file(name, None)
    found = hash_file(path, progress=progress, cancelled=cancelled)
    if found != _expected(model, trusted_sha256):
        raise _another(model, path, found)
    return path


def _another(model: Model, path: Path, found: str) -> InputError:
    again = "Install Exemplar again"
    if not model.shipped:
        again = f"Remove it and fetch it again (models download {model.name}) or import the published file"
    return InputError(
        f"{path} is damaged or another file: its SHA-256 is {found}. {again}; weights of your own are "
        "given with --checkpoint."
    )


def _to_bring(name: str, trusted_sha256: str | None) -> tuple[Model, str]:
    model = find_model(name)
    if model.shipped:
        raise InputError(f"The model {name!r} comes with Exemplar; there is nothing to bring.")
    return model, _expected(model, trusted_sha256)


def _expected(model: Model, trusted_sha256: str | None) -> str:
    """The hash that a file must have: the catalogue's, or the user's where that one is not confirmed."""
    trusted = (trusted_sha256 or "").strip().lower()
    if trusted and not re.fullmatch("[0-9a-f]{64}", trusted):
        raise InputError(f"{trusted_sha256} is no SHA-256. It has 64 digits from 0 to 9 and a to f.")
    if model.confirmed:
        if trusted not in ("", model.sha256):
            raise InputError(
                f"The SHA-256 of {model.name!r} is confirmed and is another one ({model.sha256}). Leave "
                "--trust-sha256 out, or give weights of your own with --checkpoint."
            )
        return model.sha256
    if not trusted:
        raise InputError(
            f"The SHA-256 of {model.name!r} could not be confirmed from two sources. Get it from one that "
            "you trust and give it with --trust-sha256."
        )
    return trusted
