"""What units specialise in: the part of a class that lights a unit, what drives it there, and what goes without it."""
