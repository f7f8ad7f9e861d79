"""Rasters, vector files and coordinates: the working grid, extents and true metres."""
