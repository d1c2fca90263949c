"""What was really encoded decides which entry of the token table a step shows, and whether it shows any."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from daam.errors import TraceError
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt
from daam.webui.encoded import EntriesInUse, Readers
from daam.webui.hosts import Encoded, EncodedEntry
from daam.webui.prompts import PassTables
from tests.places import TOKENIZER

STEPS = 4


def encode(text: str) -> Tensor:
    """A context that only this text has, and whose columns up to a change are those of the text before it."""
    torch.manual_seed(0)
    tokens = parse_prompt(text, ClipTokenizer.from_folder(TOKENIZER)).parts[0].schedule[0].chunks[0].tokens
    vectors = torch.nn.Embedding(49408, 8).weight.detach()[list(tokens)]
    return vectors.cumsum(dim=0)


def table(prompt: str) -> PromptTable:
    return parse_prompt(prompt, ClipTokenizer.from_folder(TOKENIZER), steps=STEPS)


def in_use(
    prompt: str, encoded: list[list[tuple[int, Tensor]]], *, readers: list[str], negative: str = ""
) -> EntriesInUse:
    tables = PassTables((table(prompt),), (table(negative),))
    parts = [[EncodedEntry(*entry) for entry in part] for part in encoded]
    given = Encoded(positive=[parts], negative=[[[EncodedEntry(STEPS, encode("something else"))]]])
    return EntriesInUse(tables, given, Readers(readers, encode), with_negative=bool(negative))


def test_by_the_webuis_own_rules_nothing_is_encoded_again() -> None:
    entries = in_use("a [red:blue:2] circle", [[(2, torch.zeros(77, 8)), (4, torch.zeros(77, 8))]], readers=[])
    part = table("a [red:blue:2] circle").parts[0]
    assert [entries.number("positive", 0, 0, part, step) for step in range(5)] == [0, 0, 0, 1, 1]


def test_entries_are_found_by_their_contents_where_an_extension_ends_them_at_other_steps() -> None:
    prompt = "a [red:blue:2] circle"
    red, blue = encode("a red circle"), encode("a blue circle")
    entries = in_use(prompt, [[(0, red), (2, blue + 1e-6), (3, red)]], readers=["fusion"])
    part = table(prompt).parts[0]
    assert [entries.number("positive", 0, 0, part, step) for step in range(4)] == [0, 1, 1, 0]


def test_a_text_that_was_encoded_otherwise_is_refused_from_the_first_token_that_differs() -> None:
    mixed = (encode("a red circle") + encode("a blue circle")) / 2
    with pytest.raises(TraceError, match="fusion reads prompts in its own way: from 'red' on, what was encoded"):
        in_use("a red circle", [[(STEPS, mixed)]], readers=["fusion"])


def test_words_of_another_weight_are_the_same_words() -> None:
    in_use("a red circle", [[(STEPS, 1.3 * encode("a red circle"))]], readers=["fusion"])


def test_padding_of_more_chunks_is_no_difference() -> None:
    padded = torch.cat([encode("a red circle"), torch.ones(77, 8)])
    in_use("a red circle", [[(STEPS, padded)]], readers=["fusion"])


def test_a_text_without_words_may_be_encoded_as_anything() -> None:  # SDXL makes an empty negative prompt all zero
    in_use(" ", [[(STEPS, torch.zeros(77, 8))]], readers=["fusion"])


@pytest.mark.parametrize("readers", [[], ["neutral"]])
def test_another_number_of_parts_is_refused_with_its_cause(readers: list[str]) -> None:
    who = "neutral reads prompts in its own way" if readers else "another extension changed it on the way"
    parts = [[(STEPS, encode("a circle"))], [(STEPS, encode("a tree"))]]
    with pytest.raises(TraceError, match=f"in 2 parts, by its own rules it has 1: {who}"):
        in_use("a circle AND_PERP a tree", parts, readers=readers)


def test_the_negative_prompt_is_compared_where_it_is_shown() -> None:
    fitting = [[(STEPS, encode("a circle"))]]
    in_use("a circle", fitting, readers=["fusion"])
    with pytest.raises(TraceError, match="from 'ugly' on"):
        in_use("a circle", fitting, readers=["fusion"], negative="ugly")
