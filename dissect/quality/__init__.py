"""What a generator draws badly, and what it does not draw."""
