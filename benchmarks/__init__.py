"""Measurements whose numbers the README quotes; each prints the machine it ran on."""
