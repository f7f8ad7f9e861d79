"""Exemplar's algorithms for Processing: the toolbox, models, batches and ``qgis_process``."""
