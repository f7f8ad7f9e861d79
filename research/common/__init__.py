"""What measurements and training share: a place's examples and truth, matching, a tile's results, paths."""
