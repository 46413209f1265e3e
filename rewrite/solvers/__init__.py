"""Constrained least squares: a goal and a memory become a change of one weight."""
