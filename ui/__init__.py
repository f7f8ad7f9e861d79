"""The plugin inside QGIS: dock, drawing, engine, layers and Processing algorithms."""
