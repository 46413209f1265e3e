"""The built-in classifier of handwritten digits: its training."""
