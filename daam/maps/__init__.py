"""The sums of a trace → heat maps, how they are scaled, their numbers, and what they show in sentences."""
