"""From a request to files: detect, search, one tile, edges, and the cache of what was computed."""
