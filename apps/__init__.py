"""Show: the command line, and the training of the built-in world. Nothing here is imported by the library."""
