"""Everything that talks to QGIS. Imports no torch, rasterio, shapely, geopandas or pandas."""
