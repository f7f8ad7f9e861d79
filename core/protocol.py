"""The messages between QGIS and the engine: one JSON object per line, UTF-8.

Standard library only, since QGIS imports this module from its own Python. The requests' fields declare a
run's parameters, once for all who show or check them (:mod:`core.parameters`).

====================  ==========================================================
to the engine         meaning
====================  ==========================================================
``detect``            ``job`` (a name the caller chooses), ``request``: the
                      fields of :class:`DetectRequest`
``evaluate``          ``job``, ``request``: the fields of
                      :class:`EvaluateRequest`
``edges``             ``job``, ``request``: the fields of :class:`EdgesRequest`
``download``          ``job``, ``request``: the fields of
                      :class:`DownloadRequest`; runs beside other jobs
``cancel``            ``job``: stop between two batches, write nothing
``shutdown``          end the process; so does closing standard input
====================  ==========================================================

====================  ==========================================================
from the engine       meaning
====================  ==========================================================
``hello``             once, at the start: ``protocol``, ``version``, ``device``,
                      ``strategies``, ``targets``, ``models`` (lists of objects
                      with ``name``, ``title`` and, where one is it, ``default``;
                      of a model also ``size`` and ``memory`` (bytes),
                      ``licence``, ``suits``, ``address``, ``sha256``,
                      ``confirmed``, ``file`` (path) and ``here`` (bool))
``progress``          ``job``, ``fraction`` (0 to 1), ``message``
``result``            of ``detect``: ``job``, ``output`` (path), ``count``,
                      ``seconds``, ``resolution`` (metres), ``min_score``; of
                      ``evaluate``: ``job``, ``figures`` (an object); of
                      ``edges``: ``job``, ``output``, ``lines`` (paths, or null),
                      ``count`` (of lines), ``seconds``, ``resolution``; of
                      ``download``: ``job``, ``model``, ``file`` (path)
``cancelled``         ``job``
``error``             ``job`` (null where the message had none), ``message`` (the
                      sentence for the user), ``user_fault`` (bool), ``details``
                      (a traceback or "")
====================  ==========================================================
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from .parameters import ADVANCED, ParameterError, check_values, parameter, parameters_of

PROTOCOL = 1
ENCODINGS = ("together", "apart")  # of example and query
PRECISIONS = ("auto", "single", "half")  # of a network's encoder
ROLES = ("positive", "negative")  # of example polygons, in their column ``role``


def role_of(said: str) -> str | None:
    """The role that a text names, the first where it says nothing; None where it names neither."""
    role = said.strip().lower() or ROLES[0]
    return role if role in ROLES else None


# What several requests declare alike.
_EXTENT = {
    "title": "Extent",
    "metavar": ("XMIN", "YMIN", "XMAX", "YMAX"),
    "lengths": (4,),
    "minimum": -1e12,
    "maximum": 1e12,
    "bound": "no coordinate on the earth is larger, whatever its unit",
}
_BANDS = {
    "lengths": (1, 3),
    "minimum": 1,
    "maximum": 65_535,
    "bound": "a GeoTIFF can have no more bands",
    "group": ADVANCED,
}
_FIRST_BANDS = "One or three band numbers, from 1 (default: the first three, or the first)."
_TARGET = {"title": "Find", "listed_by": "targets"}
_MODEL = {
    "title": "Model",
    "help": "The network; the command models list shows which there are.",
    "listed_by": "models",
    "group": ADVANCED,
}
_CHECKPOINT = {
    "title": "Checkpoint",
    "help": "A file with your own weights for the model.",
    "is_path": True,
    "group": ADVANCED,
}
_RESOLUTION = {
    "title": "Resolution (metres per pixel)",
    "minimum": 0.001,
    "maximum": 100_000,
    "bound": "finer than a millimetre or coarser than 100 km no image of the earth is searched",
    "group": ADVANCED,
}
_DEVICE = {"title": "Device", "help": "auto, cpu, cuda or mps.", "group": ADVANCED}
_PRECISION = {
    "title": "Precision",
    "help": "The precision with which the network encodes the image: auto, single (float32) or half. Half "
    "takes about half as long where the processor or the graphics card supports it; auto uses it where it is "
    "known to cost no accuracy.",
    "choices": PRECISIONS,
    "group": ADVANCED,
}
_SHARE = {"minimum": 0, "maximum": 1}


class _Request:
    """What requests share: their fields as plain objects, and back."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def check(self) -> None:
        """Raise ``ParameterError`` for the first value that its declaration does not allow."""
        check_values(type(self), vars(self))

    @classmethod
    def from_dict(cls, given: Any):
        """Build a request; fields that are unknown, missing or not allowed raise ``ParameterError``."""
        if not isinstance(given, dict):
            raise ParameterError("The request is no object. Give its fields by their names.")
        declared = parameters_of(cls)
        if unknown := sorted(set(given) - set(declared)):
            raise ParameterError(f"There are unknown fields in the request: {', '.join(unknown)}.")
        needed = {name for name, parameter in declared.items() if parameter.is_required}
        if missing := sorted(needed - set(given)):
            raise ParameterError(f"There are fields missing in the request: {', '.join(missing)}.")
        request = cls(**given)
        request.check()
        return request


class _NetworkRequest(_Request):
    """What requests share that run a network."""

    model: str
    checkpoint: str | None
    device: str
    precision: str

    def network(self) -> tuple[str, str | None, str, str]:
        """What ``Segmenter.load`` takes."""
        return self.model, self.checkpoint, self.device, self.precision


@dataclasses.dataclass
class DetectRequest(_NetworkRequest):
    """Everything that ``detect`` needs; the command line's flags by the same names.

    ``docs/guide/parameters.md`` lists the parameters.
    """

    raster: str = parameter(title="Image", help="The image to search.", is_path=True)
    example: str = parameter(
        title="Example",
        help="A vector file with the example polygon, or several; a column role says which are positive and "
        "which negative, that is, not to be found (empty: positive).",
        is_path=True,
    )
    output: str = parameter(
        title="Detections",
        help="The detections to write: .gpkg, .shp, .geojson or .parquet; an older file is replaced.",
        is_path=True,
    )
    example_raster: str | None = parameter(
        None,
        title="Image that the example lies on",
        help="The image that the example was drawn on, where that is another one.",
        is_path=True,
    )
    extent: list[float] | None = parameter(
        None, help="The part to search, in the image's CRS (default: all of it).", **_EXTENT
    )
    target: str = parameter(
        "building",
        help="What kind of object it is, which says what sizes and shapes to expect: building, "
        "vehicle or other.",
        **_TARGET,
    )
    strategy: str = parameter(
        "guided",
        title="Strategy",
        help="How prompts are placed; the command strategies shows the ways.",
        listed_by="strategies",
        group=ADVANCED,
    )
    model: str = parameter("embedded", **_MODEL)
    checkpoint: str | None = parameter(None, **_CHECKPOINT)
    bands: list[int] | None = parameter(None, title="Bands", help=_FIRST_BANDS, **_BANDS)
    example_bands: list[int] | None = parameter(
        None,
        title="Bands of the example's image",
        help="Band numbers of the image in example_raster (default: those in bands).",
        **_BANDS,
    )
    resolution: float | None = parameter(
        None,
        help="Working resolution in metres per pixel; by default it follows from the example's size.",
        **_RESOLUTION,
    )
    encode: str = parameter(
        "together",
        title="Encode example and image",
        help="together on one canvas, or apart: then the encoded image is used again for another example of "
        "about the same size at the same resolution.",
        choices=ENCODINGS,
        group=ADVANCED,
    )
    runs: int = parameter(
        64,
        title="Runs",
        help="How many prompt sets are tried per tile. More is slower and steadier.",
        minimum=1,
        maximum=10_000,
        bound="more would take hours",
        group=ADVANCED,
    )
    seed: int = parameter(
        0,
        title="Seed",
        help="Seed of the random prompts: the same seed gives the same polygons.",
        minimum=0,
        maximum=2_147_483_647,
        bound="dialogs hold no larger whole number",
        group=ADVANCED,
    )
    min_score: float | None = parameter(
        None,
        title="Minimum score",
        help="Detections with a lower score are left out; by default calibrated on the example (0.55, more "
        "beside negative polygons).",
        bound="a score is a probability",
        group=ADVANCED,
        **_SHARE,
    )
    device: str = parameter("auto", **_DEVICE)
    precision: str = parameter("auto", **_PRECISION)
    regularize: bool = parameter(
        False,
        title="Right angles",
        help="Draws outlines with right angles where they still overlap the found pixels by 0.9 or more; "
        "other outlines stay as they are. For buildings.",
        group=ADVANCED,
    )
    rectangles: bool = parameter(
        False,
        title="Rectangles",
        help="Draws every object as a rectangle with length, width and direction, whatever regularize says. "
        "For vehicles.",
        group=ADVANCED,
    )
    mask: str | None = parameter(
        None, title="Mask", help="Also write the detections as a GeoTIFF mask.", is_path=True
    )
    candidates: str | None = parameter(
        None,
        title="Candidates",
        help="Also write all that was found, what scores less than the minimum score too.",
        is_path=True,
    )

    def check(self) -> None:
        super().check()
        if self.example_bands is not None and self.example_raster is None:
            raise ParameterError(
                "The parameter example_bands says nothing without example_raster, the image whose bands they "
                "are. Give that image, or leave example_bands out."
            )


@dataclasses.dataclass
class EvaluateRequest(_Request):
    """Everything that ``evaluate`` needs; the command line's flags by the same names."""

    detections: str = parameter(
        title="Detections", help="A vector file of the polygons to judge.", is_path=True
    )
    truth: str = parameter(title="Truth", help="A vector file of the polygons that are right.", is_path=True)
    target: str | None = parameter(
        None,
        title="Only",
        help="Compare only polygons with this value in the column target, in layers that have this column.",
        listed_by="targets",
    )
    extent: list[float] | None = parameter(
        None, help="The part to compare on, in the truth's CRS (default: the truth's bounds).", **_EXTENT
    )
    iou: float = parameter(
        0.5,
        title="IoU of a match",
        help="A detection that overlaps an object of the truth at least this much is a match.",
        minimum=0.01,
        maximum=1,
        bound="below, a touch would be a match",
    )
    boxes: bool = parameter(
        False,
        title="Compare bounding boxes",
        help="Compares bounding boxes instead of outlines. For truth that holds only boxes.",
    )


@dataclasses.dataclass
class EdgesRequest(_NetworkRequest):
    """Everything that ``edges`` needs; the command line's flags by the same names."""

    raster: str = parameter(title="Image", help="The image.", is_path=True)
    output: str = parameter(
        title="Edges",
        help="The GeoTIFF to write (.tif): strength of the thinned edges, 0 to 1; -1 where there is no data.",
        is_path=True,
    )
    lines: str | None = parameter(
        None,
        title="Edges as lines",
        help="Also write the edges as lines: .gpkg, .shp, .geojson or .parquet.",
        is_path=True,
    )
    extent: list[float] | None = parameter(
        None, help="The part to look at, in the image's CRS (default: all of it).", **_EXTENT
    )
    model: str = parameter("embedded", **_MODEL)
    checkpoint: str | None = parameter(None, **_CHECKPOINT)
    bands: list[int] | None = parameter(None, title="Bands", help=_FIRST_BANDS, **_BANDS)
    resolution: float | None = parameter(
        None,
        help="Working resolution in metres per pixel, which the edges have too; by default the image's own. "
        "One tile is 1024 pixels wide and gets 256 prompts: a coarser resolution is faster and finds larger "
        "things.",
        **_RESOLUTION,
    )
    min_strength: float = parameter(
        0.3,
        title="Minimum strength of a line",
        help="Weaker edges become no lines; the raster holds them all.",
        bound="a strength is a share",
        group=ADVANCED,
        **_SHARE,
    )
    device: str = parameter("auto", **_DEVICE)
    precision: str = parameter("auto", **_PRECISION)


@dataclasses.dataclass
class DownloadRequest(_Request):
    """A model's weights are to be fetched, verified and put in their place."""

    model: str = parameter(
        title="Model", help="The network, by its name in the list of models.", listed_by="models"
    )
    file: str | None = parameter(
        None,
        title="File",
        help="The published file, which the user has, to be taken instead of the one on the web.",
        is_path=True,
    )


def encode(kind: str, **fields: Any) -> bytes:
    """One message as a line of UTF-8 bytes, newline included."""
    line = json.dumps({"type": kind, **fields}, ensure_ascii=False) + "\n"
    return line.encode("utf-8", "backslashreplace")  # a path may hold bytes that are no text


def decode(line: bytes) -> dict[str, Any]:
    """Read one line; anything but a JSON object with a ``type`` raises ``ValueError``."""
    message = json.loads(line.decode("utf-8"))
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError("not a message: an object with a type is expected")
    return message
