"""How the built-in world "towers" was made: training scripts and their checks."""
