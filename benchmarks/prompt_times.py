"""How long it takes to read prompts of 1,000, 10,000 and 100,000 characters, in CPU seconds; it shall grow linearly.

    python -m benchmarks.prompt_times
    python -m benchmarks.prompt_times --words

`--words` prints the viewer's data of prompts that people write, scheduled or not, medians of five. The traces are
random numbers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from statistics import median

import torch
from PIL import Image

from benchmarks.machine import machine
from daam.errors import DaamError
from daam.hosts.diffusers_models import EMBEDDED, load_pipeline
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt
from daam.prompt.schedule import StepRule, read_schedule
from daam.prompt.source_text import SourceText
from daam.prompt.terms import every_word, find_term
from daam.prompt.typed_words import word_columns
from daam.results.drawing_settings import DrawingSettings
from daam.results.viewer.data import _frames, viewer_data
from daam.rewriting import set_weight
from daam.tracing.accumulator import TextMaps
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import TextKey, TracedText

LENGTHS = (1_000, 10_000, 100_000)
SIDES = (16, 8, 4)
SD1 = (64, 32, 16, 8)
STEPS = 20
VOCABULARY = [f"{first}{second}" for first in "bcdfghklmnprst" for second in ("aro", "elin", "imu", "ota", "ulen")]


def prompt_of(words: int) -> str:
    """So many words, some weighted, with commas."""
    return ", ".join(
        f"({word}:1.2) {number}girl" if number % 9 == 4 else word
        for number, word in enumerate(islice(cycle(VOCABULARY), words))
    )


def trace_of(table: PromptTable, sides: tuple[int, ...] = SIDES, size: int = 512) -> ImageTrace:
    """A trace of the prompt with random maps, as a model of these resolutions leaves it."""
    generator = torch.Generator().manual_seed(0)
    texts = {}
    for part_number, part in enumerate(table.parts):
        for entry_number, entry in enumerate(part.schedule):
            columns = word_columns(entry)
            text = TracedText(TextKey(0, "positive", part_number, entry_number), columns)
            sums = {f"layer {side}": torch.rand((len(columns), side, side), generator=generator) for side in sides}
            ones = dict.fromkeys(sums, 1)
            texts[text.key] = replace(TextMaps(text), sums=sums, counts=ones, heads=ones)
    return ImageTrace((size, size), table, None, texts, STEPS)


def find_every_word(table: PromptTable) -> None:
    for term in every_word(table):
        find_term(term, table)


def seconds(action: Callable[[], object]) -> str:
    since = time.process_time()
    try:
        action()
    except DaamError as error:
        return f"refused: {str(error)[:40]}…"
    return f"{time.process_time() - since:.3f}"


def by_length(tokenizer: ClipTokenizer) -> None:
    print(f"{'characters':>10}  {'parse':>8}  {'schedule':>8}  {'terms':>8}  {'rewriting':>9}  {'viewer data':>11}")
    for length in LENGTHS:
        prompt = prompt_of(length // 6)[: length - 12] + " [zeb|zub]"
        part = SourceText.typed(prompt)
        table = parse_prompt(prompt, tokenizer, steps=2)
        fresh = parse_prompt(prompt, tokenizer, steps=2)
        cells = (
            seconds(partial(parse_prompt, prompt, tokenizer, steps=2)),
            seconds(partial(read_schedule, part, StepRule(STEPS))),
            seconds(partial(find_every_word, fresh)),
            seconds(partial(set_weight, prompt, (0, 4), 1.3)),
            seconds(partial(viewer_data, Image.new("RGB", (512, 512)), trace_of(table), DrawingSettings())),
        )
        print(f"{length:10}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, (8, 8, 8, 9, 11))))


def long_prompts() -> dict[str, str]:
    """Prompts that people write, by what they are."""
    words = [f"{first}{second}" for first in "bcdfghklmnprst" for second in ("aro", "elin", "imu", "ota", "ulen", "y")]
    words += [word + "s" for word in words]
    plain = {f"{count} words": ", ".join(words[:count]) for count in (16, 129, 150)}
    return plain | {
        "63 words, one alternation": ", ".join(words[:61]) + " [cat|dog]",
        "153 words, editing and alternation": " [cat|dog], " + ", ".join(words[:147]) + " [sun:moon:0.5] [tree:0.3]",
    }


def seconds_of_data(table: PromptTable, sides: tuple[int, ...], size: int, repeats: int = 5) -> list[float]:
    """CPU seconds of each making of the viewer's data, nothing kept from the one before."""
    found = []
    for _ in range(repeats):
        _frames.cache_clear()
        trace, picture = trace_of(table, sides, size), Image.new("RGB", (size, size))
        since = time.process_time()
        viewer_data(picture, trace, DrawingSettings())
        found.append(time.process_time() - since)
    return found


def by_words(tokenizer: ClipTokenizer) -> None:
    print(f"{'prompt':36}  {'SD 1, 512×512':>13}  {'embedded':>8}")
    for name, prompt in long_prompts().items():
        table = parse_prompt(prompt, tokenizer, steps=STEPS)
        sd1, embedded = (median(seconds_of_data(table, sides, size)) for sides, size in ((SD1, 512), (SIDES, 128)))
        print(f"{name:36}  {sd1:13.3f}  {embedded:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", action="store_true", help="prompts that people write, by number of words")
    options = parser.parse_args()
    tokenizer = ClipTokenizer.from_transformers(load_pipeline(EMBEDDED).tokenizer)
    print(f"CPU seconds; {machine()}")
    (by_words if options.words else by_length)(tokenizer)


if __name__ == "__main__":
    main()
