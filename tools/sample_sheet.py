"""`python -m tools.sample_sheet FILE`: thirty pictures of the embedded model, with the heat maps of two words each."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from daam.hosts.diffusers_generate import GenerationSettings, generate
from daam.hosts.diffusers_models import EMBEDDED_GUIDANCE_SCALE, load_pipeline
from daam.pictures.captions import add_caption
from daam.pictures.grid import make_grid
from daam.results.drawing import draw_terms, enlarge, tiles_of
from daam.results.drawing_settings import DrawingSettings
from tools.train_demo_model.held_out import Caption, make_captions

SCENES = {
    "a photo of a black cat on grass under a blue sky": "cat, grass",
    "a yellow sun above a red house on grass": "sun, house",
    "the moon over a white boat on the sea at night": "moon, boat",
    "a red balloon and a blue balloon on a white background": "balloon, background",
    "a green tree next to a red car on sand": "tree, car",
    "an orange mushroom on green grass": "mushroom, grass",
    "a purple flower on snow": "flower, snow",
    "a white cloud over a blue house on the beach": "cloud, house",
    "a brown cat and a yellow sun on sand at sunset": "cat, sun",
    "a cartoon of a pink heart": "pink, heart",
}
SIDE = 192


def sample(pipeline: object, prompt: str, terms: str, seed: int) -> Image.Image:
    """Picture and two overlays side by side, the prompt below."""
    generation = generate(
        pipeline, GenerationSettings(prompt, seed=seed, guidance_scale=EMBEDDED_GUIDANCE_SCALE), terms=terms
    )
    settings = DrawingSettings(terms=terms, image_scale=SIDE / 128)
    picture = enlarge(generation.pictures[0], settings)
    tiles = tiles_of(draw_terms(picture, generation.heat_maps(), settings))
    row = make_grid([add_caption(picture, "picture"), *tiles], layout="batch-rows", batch_size=1)
    return add_caption(row, prompt)


def _two_words(caption: Caption) -> str:
    """Both nouns, or the noun and its colour."""
    words = [shape for _, shape in caption.objects] + [caption.objects[0][0]]
    return ", ".join(words[:2])


def write_samples(file: Path) -> None:
    pipeline = load_pipeline()
    prompts = {caption.text: _two_words(caption) for caption in make_captions(20)} | SCENES
    samples = [sample(pipeline, prompt, terms, seed) for seed, (prompt, terms) in enumerate(prompts.items())]
    make_grid(samples, layout="batch-rows", batch_size=10, gap=12).save(file, quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    write_samples(parser.parse_args().file)


if __name__ == "__main__":
    main()
