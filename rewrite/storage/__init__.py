"""Files of this library: written whole or not at all, read with checks, kept in a cache."""
