"""The arguments of the commands; nothing heavy is imported here, so that `--help` answers at once."""
