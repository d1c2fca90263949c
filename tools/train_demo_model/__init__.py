"""Draws scenes whose object masks are known, and trains the embedded demo model on them."""
