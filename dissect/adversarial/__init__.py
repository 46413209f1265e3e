"""Adversarial pictures: found by an attack, and what they do to the units that matter for the classes they confuse."""
