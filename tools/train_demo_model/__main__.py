"""`python -m tools.train_demo_model WORK_FOLDER`: trains the embedded model, or goes on where it was stopped."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from .autoencoder import train_autoencoder, train_decoder
from .dataset import make_dataset
from .diffusion import train_diffusion
from .export import export_pipeline, load_networks

MODEL = Path(__file__).parents[2] / "daam" / "demo_model" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for checkpoints and the data set")
    parser.add_argument("--model", type=Path, default=MODEL, help="folder to export to, with the tokenizer in it")
    parser.add_argument("--vae-minutes", type=float, default=11)
    parser.add_argument("--decoder-minutes", type=float, default=15, help="then of the VAE's decoder alone, all runs")
    parser.add_argument("--minutes", type=float, default=90, help="training time of UNet and text encoder, all runs")
    parser.add_argument("--scenes", type=int, default=24000)
    parser.add_argument("--train-on", action="store_true", help="begin with the model in --model, not from nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    tokenizer = CLIPTokenizer.from_pretrained(options.model / "tokenizer")
    if options.train_on:
        autoencoder = AutoencoderKL.from_pretrained(options.model / "vae", low_cpu_mem_usage=False).float().eval()
    else:
        autoencoder = train_autoencoder(options.work, options.vae_minutes * 60)
    data = make_dataset(options.work, autoencoder, tokenizer, options.scenes)
    rows: dict[int, int] = data["rows"]  # type: ignore[assignment]
    start = load_networks(options.model, rows) if options.train_on else None
    unet, text_encoder = train_diffusion(options.work, data, options.minutes * 60, start)
    autoencoder = train_decoder(options.work, autoencoder, options.decoder_minutes * 60)
    export_pipeline(options.model, autoencoder, unet, text_encoder, rows)


if __name__ == "__main__":
    main()
