"""Many generations compared: what to vary, and the grid of what changed."""
