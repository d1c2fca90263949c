"""One file for each program that can be traced. Adding a host is adding a file here (the WebUI has its own folder)."""
