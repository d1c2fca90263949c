"""Heat maps of what every word of a prompt did to a generated picture."""

from daam.hosts.diffusers_trace import trace

__version__ = "0.1.0"
__all__ = ["__version__", "trace"]
