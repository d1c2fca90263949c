"""Sizes of the small checkpoints for the Forges, read in the tests' Python and in the host's."""

CLIP_LAYERS, OPEN_CLIP_LAYERS = 2, 3
"""`ldm_patched` wants more layers than it looks back: two in SDXL's OpenCLIP, eleven in CLIP-L."""
VAE_SIZES = {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1}
T5_SIZES = {"d_model": 64, "d_ff": 128, "d_kv": 16, "num_heads": 4, "num_layers": 2}
