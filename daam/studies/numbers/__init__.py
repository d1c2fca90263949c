"""Numbers that can be cited: means with intervals, and the files that hold them. Knows no heat map."""
