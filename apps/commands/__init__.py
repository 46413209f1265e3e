"""The commands of the program, one per file: `run` does the work and gives a dictionary, `tell` puts it into words."""
