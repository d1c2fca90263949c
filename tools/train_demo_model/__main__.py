"""`python -m tools.train_demo_model WORK_FOLDER`: trains the embedded model, or goes on where it was stopped."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from daam.demo_model import WEIGHTS

from .autoencoder import draw_pictures, encode, has_autoencoder, train_autoencoder
from .compute import choose_compute
from .dataset import SEED, draw_chunk, has_dataset, make_dataset
from .diffusion import train_diffusion
from .drawing_pool import drawing_pool
from .export import export_pipeline, load_autoencoder, load_networks
from .lengths import NONE, ON_GPU, ON_PROCESSOR, Lengths


def lengths_of(options: argparse.Namespace, usual: Lengths) -> Lengths:
    """What is asked for, less what the work folder has already; nothing of a VAE that is trained on."""
    parts = usual.autoencoder if options.train_on is None else NONE
    asked = {part: getattr(options, f"{part}_minutes") for part in asdict(parts)}
    parts = replace(parts, **{part: minutes for part, minutes in asked.items() if minutes is not None})
    return Lengths(
        scenes=0 if has_dataset(options.work) else options.scenes or usual.scenes,
        minutes=usual.minutes if options.minutes is None else options.minutes,
        pool=0 if parts.are_none or has_autoencoder(options.work) else usual.pool,
        autoencoder=parts,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    # fmt: off
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for checkpoints and the data set")
    parser.add_argument("--train-on", type=Path, nargs="?", const=WEIGHTS, metavar="MODEL",
                        help="begin with this model, or with the one in the package, not from nothing")
    parser.add_argument("--export", type=Path, default=WEIGHTS, metavar="FOLDER", help="default: into the package")
    parser.add_argument("--minutes", type=float, help="for UNet and text encoder, all runs: of processor time, all "
                        f"threads together, {ON_PROCESSOR.minutes:g}; on a GPU of the clock, {ON_GPU.minutes:g}")
    for part, minutes in asdict(ON_PROCESSOR.autoencoder).items():
        parser.add_argument(f"--{part}-minutes", type=float, help=f"of the VAE: {minutes:g}, on a GPU "
                            f"{getattr(ON_GPU.autoencoder, part):g}, or 0 where one is trained on")
    parser.add_argument("--scenes", type=int, help=f"{ON_PROCESSOR.scenes}, on a GPU {ON_GPU.scenes}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    # fmt: on
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    compute = choose_compute(options.device)
    lengths = lengths_of(options, ON_GPU if compute.is_gpu else ON_PROCESSOR)
    with drawing_pool(options.threads) as pool:
        pictures, chunks = pool.begin(draw_pictures, lengths.pool, seed=7), pool.begin(draw_chunk, lengths.scenes, SEED)
        start = None if options.train_on is None else load_autoencoder(options.train_on)
        autoencoder = train_autoencoder(options.work, lengths.autoencoder, pictures, compute, start).to(compute.device)
        data = make_dataset(options.work, chunks, lambda some: encode(autoencoder, some, compute))
    networks = None if options.train_on is None else load_networks(options.train_on, data.rows)
    unet, text_encoder = train_diffusion(options.work, data, 60 * lengths.minutes, compute, networks)
    export_pipeline(options.export, autoencoder.cpu(), unet, text_encoder, data.rows)


if __name__ == "__main__":
    main()
