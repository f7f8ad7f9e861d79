"""Front doors of the engine: the command line and the JSON-lines server."""
