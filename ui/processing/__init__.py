"""Algorithms for Processing: the toolbox, models, batches and ``qgis_process``."""
