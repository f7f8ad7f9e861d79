"""Drawing examples on the map canvas."""
