"""The role of units: what a classifier loses of each class when units are off (Bau et al., PNAS 2020)."""
