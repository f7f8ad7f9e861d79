"""The networks' architectures, readable without their speed-ups."""
