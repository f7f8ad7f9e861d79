"""The messages between QGIS and the engine: one JSON object per line, UTF-8.

Standard library only, since QGIS imports this module from its own Python.

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
``error``             ``job``, ``message`` (the sentence for the user),
                      ``user_fault`` (bool), ``details`` (a traceback or "")
====================  ==========================================================
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

PROTOCOL = 1
ENCODINGS = ("together", "apart")  # of example and query
PRECISIONS = ("auto", "single", "half")  # of a network's encoder
ROLES = ("positive", "negative")  # of example polygons, in their column ``role``


def role_of(said: str) -> str | None:
    """The role that a text names, the first where it says nothing; None where it names neither."""
    role = said.strip().lower() or ROLES[0]
    return role if role in ROLES else None


class _Request:
    """What requests share: their fields as plain objects, and back."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, given: dict[str, Any]):
        """Build a request; unknown or missing fields raise ``ValueError`` naming them."""
        fields = dataclasses.fields(cls)
        if unknown := sorted(set(given) - {field.name for field in fields}):
            raise ValueError(f"unknown fields in the request: {', '.join(unknown)}")
        needed = {field.name for field in fields if field.default is dataclasses.MISSING}
        if missing := sorted(needed - set(given)):
            raise ValueError(f"fields missing in the request: {', '.join(missing)}")
        return cls(**given)


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

    Parameters
    ----------
    raster : str
        The query raster's path.
    example : str
        A vector file with the example polygon(s). Where it has a column ``role``, that
        says of each whether it is wanted, ``positive``, or not, ``negative``.
    example_raster : str, optional
        The raster that the example was drawn on; default: ``raster``.
    extent : list of float, optional
        ``[xmin, ymin, xmax, ymax]`` in the raster's CRS; default: the whole raster.
    target, strategy, model : str
        Names as ``hello`` lists them.
    checkpoint : str, optional
        A local file of weights for ``model``.
    bands : list of int, optional
        One-based band numbers, three or one; default: the first three, or the first.
    example_bands : list of int, optional
        Those of ``example_raster``; default: ``bands``.
    resolution : float, optional
        Working resolution in metres per canvas pixel; default: from the example's size.
    encode : str
        ``together`` on one canvas, or example and query ``apart``, so that another
        example of about the same size at the same resolution finds the query encoded.
    runs : int
        How many prompt sets are decoded per tile.
    seed : int
        Seed of the random prompts.
    min_score : float, optional
        Detections below are left out; default: calibrated on the example.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    precision : str
        ``auto``, ``single`` or ``half``: of the network's encoder.
    regularize : bool
        Draw outlines with right angles where that costs little.
    rectangles : bool
        Draw every object as an oriented rectangle; goes before ``regularize``.
    output, mask, candidates : str, optional
        Files to write: detections, their mask as GeoTIFF, all candidates.
    """

    raster: str
    example: str
    output: str
    example_raster: str | None = None
    extent: list[float] | None = None
    target: str = "building"
    strategy: str = "guided"
    model: str = "embedded"
    checkpoint: str | None = None
    bands: list[int] | None = None
    example_bands: list[int] | None = None
    resolution: float | None = None
    encode: str = "together"
    runs: int = 64
    seed: int = 0
    min_score: float | None = None
    device: str = "auto"
    precision: str = "auto"
    regularize: bool = False
    rectangles: bool = False
    mask: str | None = None
    candidates: str | None = None


@dataclasses.dataclass
class EvaluateRequest(_Request):
    """Everything that ``evaluate`` needs; the command line's flags by the same names.

    Parameters
    ----------
    detections, truth : str
        Vector files of polygons.
    target : str, optional
        Only the rows whose column ``target`` says so.
    extent : list of float, optional
        ``[xmin, ymin, xmax, ymax]`` in the truth's CRS; default: the truth's bounds.
    iou : float
        From this IoU on a detection is an object of the truth.
    boxes : bool
        Compare bounding boxes with bounding boxes.
    """

    detections: str
    truth: str
    target: str | None = None
    extent: list[float] | None = None
    iou: float = 0.5
    boxes: bool = False


@dataclasses.dataclass
class EdgesRequest(_NetworkRequest):
    """Everything that ``edges`` needs; the command line's flags by the same names.

    Parameters
    ----------
    raster : str
        The raster's path.
    output : str
        The GeoTIFF to write: strength of the thinned edges, 0 to 1; -1 where there is no data.
    lines : str, optional
        A vector file to write: the edges as lines.
    extent : list of float, optional
        ``[xmin, ymin, xmax, ymax]`` in the raster's CRS; default: the whole raster.
    model : str
        Name as ``hello`` lists it.
    checkpoint : str, optional
        A local file of weights for ``model``.
    bands : list of int, optional
        One-based band numbers, three or one; default: the first three, or the first.
    resolution : float, optional
        Working resolution in metres per canvas pixel; default: the raster's own.
    min_strength : float
        Weaker edges become no lines; the raster holds them all.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    precision : str
        ``auto``, ``single`` or ``half``: of the network's encoder.
    """

    raster: str
    output: str
    lines: str | None = None
    extent: list[float] | None = None
    model: str = "embedded"
    checkpoint: str | None = None
    bands: list[int] | None = None
    resolution: float | None = None
    min_strength: float = 0.3
    device: str = "auto"
    precision: str = "auto"


@dataclasses.dataclass
class DownloadRequest(_Request):
    """A model's weights are to be fetched, verified and put in their place.

    Parameters
    ----------
    model : str
        Name as ``hello`` lists it.
    file : str, optional
        The published file, which the user has, to be taken instead of the one on the web.
    """

    model: str
    file: str | None = None


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
