"""`python -m tools.train_demo_model WORK_FOLDER`: trains the embedded model, or goes on where it was stopped."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from daam.demo_model import WEIGHTS

from .autoencoder import POOL, Minutes, draw_pictures, encode, has_autoencoder, train_autoencoder
from .compute import choose_compute
from .dataset import SEED, draw_chunk, has_dataset, make_dataset
from .diffusion import train_diffusion
from .drawing_pool import drawing_pool
from .export import export_pipeline, load_autoencoder, load_networks

SCENES, SCENES_ON_GPU = 24000, 160000


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for checkpoints and the data set")
    parser.add_argument("--train-on", type=Path, nargs="?", const=WEIGHTS, metavar="MODEL",
                        help="begin with this model, or with the one in the package, not from nothing")  # fmt: skip
    parser.add_argument("--export", type=Path, default=WEIGHTS, metavar="FOLDER", help="default: into the package")
    parser.add_argument("--minutes", type=float, default=180, help="for UNet and text encoder, all runs: of processor "
                        "time, all threads together; on a GPU of the clock")  # fmt: skip
    for part, default in asdict(Minutes()).items():
        parser.add_argument(f"--{part}-minutes", type=float, help=f"of the VAE; default {default:g}, or 0 where one is "
                            "trained on")  # fmt: skip
    parser.add_argument("--scenes", type=int, help=f"default {SCENES}, on a GPU {SCENES_ON_GPU}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    compute = choose_compute(options.device)
    scenes = options.scenes or (SCENES_ON_GPU if compute.is_gpu else SCENES)
    usual = Minutes() if options.train_on is None else Minutes(0, 0, 0)
    asked = {part: getattr(options, f"{part}_minutes") for part in asdict(usual)}
    minutes = replace(usual, **{part: value for part, value in asked.items() if value is not None})
    with drawing_pool(options.threads) as pool:
        pictures = pool.begin(draw_pictures, 0 if minutes.are_none or has_autoencoder(options.work) else POOL, seed=7)
        chunks = pool.begin(draw_chunk, 0 if has_dataset(options.work) else scenes, SEED)
        start = None if options.train_on is None else load_autoencoder(options.train_on)
        autoencoder = train_autoencoder(options.work, minutes, pictures, compute, start).to(compute.device)
        data = make_dataset(options.work, chunks, lambda some: encode(autoencoder, some, compute))
    networks = None if options.train_on is None else load_networks(options.train_on, data.rows)
    unet, text_encoder = train_diffusion(options.work, data, 60 * options.minutes, compute, networks)
    export_pipeline(options.export, autoencoder.cpu(), unet, text_encoder, data.rows)


if __name__ == "__main__":
    main()
