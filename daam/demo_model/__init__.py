"""The embedded model's files: a small Stable Diffusion 1.x, and CLIP's tokenizer, which every door uses."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""A diffusers folder."""
TOKENIZER = WEIGHTS / "tokenizer"
"""CLIP's: every checkpoint of SD 1, 2 and XL has this vocabulary."""
