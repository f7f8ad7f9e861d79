"""Weights: the catalogue of models, verified files, downloads and safe reading."""
