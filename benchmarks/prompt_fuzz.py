"""Reads, searches and rewrites hostile prompts; each shall end in a result or in an error of ours.

Of one prompt in ten every word's edits are framed too, which reads it again dozens of times.

    python -m benchmarks.prompt_fuzz --prompts 100000

Prints each prompt that ended in another exception, and how many there were; ends with 1 where there was one.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.machine import machine
from daam.demo_model import TOKENIZER
from daam.errors import DaamError
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt, prompt_to_data
from daam.prompt.terms import every_word, find_term, parse_terms
from daam.results.viewer.data import prompt_frames
from daam.rewriting import EditFrames, remove, set_weight

PIECES = (
    *"()[]:|\\,.#\"'<>+-_ \n\t\x00\x1c\x85\u2028\ud800\udfffaA1é😀猫İß…",
    "cat", "1girl", "8k", "BREAK", "AND", " AND ", "0.5", ":1.2)", ":0.5]", "1e9", "9" * 44, "<lora:x:1>", "&amp;",
    "Ã©",
    "[a:b:0.5]", "[a|b]", "(a:1.3)", "\\(", "<|startoftext|>", "it's", "mystyle", "#2", "a:1.2", "\u0301", "\u202e",
    "ﬁ",
)  # fmt: skip
FRAMED = 0.1
EMPHASIS = ("None", "Ignore", "Original", "No norm")


def hostile_prompt(chance: random.Random) -> str:
    """Pieces of syntax and of Unicode's corners, in any order."""
    return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 24)))


def fuzz(prompts: int, seed: int = 0) -> list[tuple[str, str, Exception]]:
    """(prompt, what was done, what came) for each exception that is none of ours."""
    tokenizer = ClipTokenizer.from_folder(TOKENIZER)
    chance = random.Random(seed)
    found = []
    for _ in range(prompts):
        prompt = hostile_prompt(chance)
        for name, action in _actions(prompt, tokenizer, chance).items():
            try:
                action()
            except DaamError:
                continue
            except Exception as error:  # what is looked for
                found.append((prompt, name, error))
    return found


def _actions(prompt: str, tokenizer: ClipTokenizer, chance: random.Random) -> dict[str, Callable[[], object]]:
    start = chance.randrange(len(prompt))
    span = start, min(len(prompt), start + chance.randint(1, 4))
    settings = {
        "steps": chance.choice((1, 3, 20)),
        "hires_steps": chance.choice((None, 5)),
        "emphasis": chance.choice(EMPHASIS),
        "negative": chance.random() < 0.3,
        "use_old_scheduling": chance.random() < 0.3,
    }
    frames = {"frame": partial(_frame, prompt, tokenizer, settings)} if chance.random() < FRAMED else {}
    return frames | {
        "read": partial(_read, prompt, tokenizer, settings),
        "terms": partial(parse_terms, prompt),
        "weaken": partial(set_weight, prompt, span, chance.choice((0.0, 0.7, 1.0, 1.3, -1.0))),
        "remove": partial(remove, prompt, span),
    }


def _read(prompt: str, tokenizer: ClipTokenizer, settings: dict[str, object]) -> PromptTable:
    table = parse_prompt(prompt, tokenizer, embeddings={"mystyle": 2}, **settings)  # type: ignore[arg-type]
    prompt_to_data(table)
    for term in every_word(table):
        find_term(term, table)
    return table


def _frame(prompt: str, tokenizer: ClipTokenizer, settings: dict[str, object]) -> EditFrames:
    return prompt_frames(_read(prompt, tokenizer, settings), negative=bool(settings["negative"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    since = time.process_time()
    found = fuzz(options.prompts, options.seed)
    for prompt, name, error in found[:20]:
        print(f"{ascii(prompt)}: {name}: {type(error).__name__}: {ascii(str(error))}")
    print(f"{options.prompts} prompts, {len(found)} foreign exceptions, "
          f"{time.process_time() - since:.0f} s of CPU; {machine()}")  # fmt: skip
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
