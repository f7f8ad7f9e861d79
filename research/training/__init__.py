"""How the embedded model and the sample scene are made. Not part of the plugin's zip."""
