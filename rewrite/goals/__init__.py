"""What a rule asks for, in numbers: keys, wanted values, and what must not change."""
