"""Checks an output before hours of work: it can be written, and it replaces no input."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from qgis.core import (
    QgsDataSourceUri,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingOutputLayerDefinition,
    QgsProperty,
    QgsProviderRegistry,
)

from ..errors import UserError
from ..translation import tr

# A provider's name before a destination; a single letter is a drive of Windows.
_PROVIDER = re.compile(r"^[A-Za-z]{2,}:")


class Place(NamedTuple):
    """A file and the table in it that is written; without a table, the whole file."""

    path: Path
    table: str


def place_of(value: Any) -> Place | None:
    """Return the place that an output parameter names; None for memory, a temporary file or a server."""
    if isinstance(value, QgsProcessingOutputLayerDefinition):
        value = value.sink
    if isinstance(value, QgsProperty):
        value = value.staticValue()  # None of an expression, which only the run can evaluate
    if not isinstance(value, str) or value in ("", QgsProcessing.TEMPORARY_OUTPUT):
        return None
    if value.startswith("ogr:"):
        uri = QgsDataSourceUri(value.removeprefix("ogr:"))
        return Place(Path(uri.database()).absolute(), uri.table()) if uri.database() else None
    return None if _PROVIDER.match(value) else Place(Path(value).absolute(), "")


def check_destination(value: Any, given: list[QgsMapLayer | None]) -> None:
    """Raise ``UserError`` where a layer can't be written, or would replace one that was given.

    QGIS makes the file only when all work is done.
    """
    if (place := place_of(value)) is None:
        return
    folder = place.path.parent
    if not folder.is_dir():
        raise UserError(
            tr("There is no folder {folder}: make it first, or choose another.").format(folder=folder)
        )
    if not os.access(folder, os.W_OK):
        raise UserError(
            tr("Nothing can be written to the folder {folder}: choose another.").format(folder=folder)
        )
    for layer in filter(None, given):
        parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
        path, table = parts.get("path"), parts.get("layerName") or ""
        if not path or Path(path).resolve() != place.path.resolve():
            continue
        if not place.table or not table or place.table == table:
            raise UserError(
                tr("“{layer}” lies in {path} and would be lost: choose another output.").format(
                    layer=layer.name(), path=place.path
                )
            )
