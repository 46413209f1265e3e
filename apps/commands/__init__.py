"""The commands of the program, one a file: `run` does the work, `tell` says in words what was done."""
