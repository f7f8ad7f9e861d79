"""Segment Anything on one canvas: encode once, decode many prompt sets."""
