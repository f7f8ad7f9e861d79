"""SAM's own sizes, said once, in canvas pixels."""

from __future__ import annotations

SIDE = 1024  # the square that the image encoder takes
CELL = 16  # side of an embedding cell; parts of the canvas start on whole cells
LOGIT_STRIDE = 4  # side of a pixel of the low-resolution masks
BOX_STRIDE = 8  # between two places at which a network answers the box of the object there
