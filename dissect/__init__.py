"""Measure: what an image shows, and what units and keys mean."""
