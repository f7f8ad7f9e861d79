"""From many runs to one score map per tile, and what the user's own polygons say."""
