"""The arguments of the commands; nothing slow is imported here, so that `--help` answers at once."""
