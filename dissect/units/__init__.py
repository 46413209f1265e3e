"""Which units of a layer agree with which concepts."""
