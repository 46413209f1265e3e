"""What units do: switched off and on, ranked by effect, painted with."""
