"""The engine as QGIS sees it: its Python, its process, its jobs."""
