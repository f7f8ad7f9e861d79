"""The stitched canvas: example crops, tiles, and the prompts that are placed on it."""
