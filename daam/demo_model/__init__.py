"""The embedded model: a small Stable Diffusion 1.x trained on drawn scenes (tools/train_demo_model)."""
