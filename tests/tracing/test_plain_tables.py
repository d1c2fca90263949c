"""What a diffusers pipeline encodes by itself: every column knows its word, with any tokenizer and any prompt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizerFast

import daam
from daam.errors import PromptError
from daam.hosts.diffusers_tokens import plain_table
from daam.prompt import TokenColumn
from daam.prompt.terms import every_word, parse_terms
from daam.prompt.typed_words import entry_words
from tests.pipelines import run, sd1
from tests.places import TOKENIZER

FAST = CLIPTokenizerFast.from_pretrained(TOKENIZER)
"""With character positions; what `CLIPTokenizer` is since transformers 5."""
PROMPTS = ["a cute red circle", "photorealism, hyper-detailed!!", "  Two   spaces ", "it's 10 €", "a 🐱 and 猫", ""]


class Slow:
    """A tokenizer as transformers 4 has it by default: no character positions, `encoder` and `bpe_ranks`."""

    is_fast = False
    added: dict[str, int] = {}
    vocab_size = FAST.vocab_size
    encoder = dict(FAST.get_vocab())
    bpe_ranks = {
        tuple(merge.split()): rank
        for rank, merge in enumerate((TOKENIZER / "merges.txt").read_text("utf-8").strip().split("\n")[1:])
    }
    model_max_length = 77

    def get_added_vocab(self) -> dict[str, int]:
        return self.added

    def __call__(self, text: str, **options: Any) -> Any:
        return FAST(text, **options)


def columns(prompt: str, tokenizer: Any = FAST, expanded: str | None = None) -> tuple[TokenColumn, ...]:
    return plain_table(prompt, tokenizer, expanded).parts[0].schedule[0].columns


@pytest.mark.parametrize("prompt", PROMPTS)
def test_slow_and_fast_tokenizers_give_the_same_words(prompt: str) -> None:
    slow, fast = columns(prompt, Slow()), columns(prompt)
    assert [(column.token, column.kind) for column in slow] == [(column.token, column.kind) for column in fast]
    words = [[word.text for word in entry_words(plain_table(prompt, t).parts[0].schedule[0])] for t in (Slow(), FAST)]
    assert words[0] == words[1]


def test_pieces_are_the_typed_text() -> None:
    pieces = [column.piece for column in columns("A Cute photorealism, cat's") if column.span]
    assert pieces == ["A", "Cute", "photo", "realism", ",", "cat", "'s"]
    kinds = [column.kind for column in columns("a cat")]
    assert kinds == ["start", "text", "text", "end"] + ["padding"] * 73


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120))
def test_any_prompt_has_77_columns_with_the_tokenizers_ids(prompt: str) -> None:
    try:
        ids = FAST(prompt, padding="max_length", truncation=True, max_length=77)["input_ids"]
    except UnicodeEncodeError:  # a lone surrogate, which no pipeline can encode
        return
    found = columns(prompt)
    assert [column.token for column in found] == ids and [column.column for column in found] == list(range(77))
    for column in found:
        if column.span is not None:
            assert 0 <= column.span[0] < column.span[1] <= len(prompt)
            assert column.piece == prompt[slice(*column.span)]


def test_a_long_prompt_is_cut_as_the_pipeline_cuts_it() -> None:
    found = columns("very " * 100)
    assert [column.kind for column in found] == ["start"] + ["text"] * 75 + ["end"]


def test_tokens_that_our_tokenizer_does_not_know_are_told() -> None:
    class Other(Slow):
        def __call__(self, text: str, **options: Any) -> Any:
            return FAST(text.replace("cat", "dog"), **options)

    with pytest.raises(PromptError, match="use a fast tokenizer"):
        columns("a cat", Other())


@pytest.fixture(scope="module")
def inverted() -> Any:
    """A pipeline with a textual-inversion embedding <x> of three vectors and <y> of one."""
    pipeline = sd1()
    pipeline.tokenizer.add_tokens(["<x>", "<x>_1", "<x>_2", "<y>"])
    pipeline.text_encoder.resize_token_embeddings(len(pipeline.tokenizer))
    with torch.no_grad():
        pipeline.text_encoder.get_input_embeddings().weight[-4:].normal_(generator=torch.Generator().manual_seed(0))
    return pipeline


PLACES = {
    "a <x> cat, <x>!": {"<x>": [(2, 3, 4), (7, 8, 9)], "cat": [(5,)], "a": [(1,)]},
    "<y> and <x>": {"<y>": [(1,)], "<x>": [(3, 4, 5)]},
    "<x><x> dog": {"<x>": [(1, 2, 3), (4, 5, 6)], "dog": [(7,)]},
    "a <y>": {"<y>": [(2,)], "a": [(1,)]},
    "a cat": {"cat": [(2,)]},
}


@pytest.mark.parametrize("prompt", PLACES)
def test_every_vector_of_an_embedding_belongs_to_its_word(inverted: Any, prompt: str) -> None:
    with daam.trace(inverted) as tracer:
        run(inverted, prompt, num_inference_steps=1)
    maps = tracer.heat_maps()
    for term, wanted in PLACES[prompt].items():
        assert term in list(maps)
        assert [place.columns for place in maps[term].places] == wanted
        assert {prompt[slice(*place.span)] for place in maps[term].places} == {term}


def test_the_columns_of_an_embedding_are_those_the_pipeline_encodes(inverted: Any) -> None:
    prompt = "a <x> cat <y>"
    expanded = inverted.maybe_convert_prompt(prompt, inverted.tokenizer)
    ids = inverted.tokenizer(expanded)["input_ids"]
    names = {inverted.tokenizer.convert_tokens_to_ids(name): "<x>" for name in ("<x>", "<x>_1", "<x>_2")}
    names[inverted.tokenizer.convert_tokens_to_ids("<y>")] = "<y>"
    found = columns(prompt, inverted.tokenizer, expanded)
    for column, token in zip(found, ids):
        assert column.token == token
        assert (column.kind == "embedding") == (token in names)
        if token in names:
            assert column.piece == names[token]


@pytest.mark.parametrize("prompt", PLACES)
def test_a_slow_tokenizer_with_embeddings_gives_the_same_table(inverted: Any, prompt: str) -> None:
    class Inverted(Slow):
        added = {name: inverted.tokenizer.convert_tokens_to_ids(name) for name in ("<x>", "<x>_1", "<x>_2", "<y>")}

        def __call__(self, text: str, **options: Any) -> Any:
            return inverted.tokenizer(text, **options)

    expanded = inverted.maybe_convert_prompt(prompt, inverted.tokenizer)
    slow, fast = columns(prompt, Inverted(), expanded), columns(prompt, inverted.tokenizer, expanded)
    assert [column.span for column in slow] == [column.span for column in fast]
    assert [column.kind for column in slow] == [column.kind for column in fast]


def test_the_words_of_an_embedding_can_be_asked_for_by_the_names_given(inverted: Any) -> None:
    prompt = "a <x> cat <y>"
    table = plain_table(prompt, inverted.tokenizer, inverted.maybe_convert_prompt(prompt, inverted.tokenizer))
    assert [word.text for word in every_word(table)] == ["a", "<x>", "cat", "<y>"]
    assert [parse_terms(word.quoted)[0].words for word in every_word(table)] == [w.words for w in every_word(table)]
