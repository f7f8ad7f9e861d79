"""Zero-shot edges of one tile: strength and thinning."""
