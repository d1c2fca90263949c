"""Heat maps of what every word of a prompt did to a generated picture."""
