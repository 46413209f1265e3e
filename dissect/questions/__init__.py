"""Questions to a classifier: what happens to some pictures with some units off."""
