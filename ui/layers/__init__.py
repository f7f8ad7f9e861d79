"""QGIS layers: read for the engine, made from its results, saved."""
