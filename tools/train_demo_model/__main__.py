"""`python -m tools.train_demo_model WORK_FOLDER`: trains the embedded model, or goes on where it was stopped."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import CLIPTokenizer

from daam.demo_model import TOKENIZER, WEIGHTS

from .autoencoder import train_autoencoder
from .compute import choose_compute
from .dataset import make_dataset
from .diffusion import train_diffusion
from .export import export_pipeline, load_autoencoder, load_networks

DECODER_MINUTES, ENCODER_MINUTES = 7.0, 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for checkpoints and the data set")
    parser.add_argument("--train-on", type=Path, nargs="?", const=WEIGHTS, metavar="MODEL",
                        help="begin with this model, or with the one in the package, not from nothing")  # fmt: skip
    parser.add_argument("--export", type=Path, default=WEIGHTS, metavar="FOLDER", help="default: into the package")
    parser.add_argument(
        "--minutes", type=float, default=180, help="of processor time for UNet and text encoder, all runs"
    )
    parser.add_argument("--decoder-minutes", type=float, help="of the VAE; default 7, or 0 where one is trained on")
    parser.add_argument("--scenes", type=int, default=24000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    compute = choose_compute(options.device)
    data = make_dataset(options.work, CLIPTokenizer.from_pretrained(TOKENIZER), options.scenes)
    vae, networks, decoder_minutes, encoder_minutes = None, None, DECODER_MINUTES, ENCODER_MINUTES
    if options.train_on is not None:
        vae, networks = load_autoencoder(options.train_on), load_networks(options.train_on, data.rows)
        decoder_minutes = encoder_minutes = 0.0
    if options.decoder_minutes is not None:
        decoder_minutes = options.decoder_minutes
    autoencoder = train_autoencoder(options.work, 60 * decoder_minutes, 60 * encoder_minutes, compute, vae)
    unet, text_encoder = train_diffusion(options.work, data, 60 * options.minutes, compute, networks)
    export_pipeline(options.export, autoencoder, unet, text_encoder, data.rows)


if __name__ == "__main__":
    main()
