"""Files and state dicts: read safely, written back in the container they came in."""
