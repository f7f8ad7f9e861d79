"""From objects in pixels to polygons and lines with their attributes."""
