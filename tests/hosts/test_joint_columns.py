"""Words to columns where a language model encodes the prompt: by the tokenizer's offsets, inside templates."""

from __future__ import annotations

from typing import Any

import pytest

from daam.errors import PromptError, TraceError
from daam.prompt.table import TokenColumn
from daam.prompt.terms import find_term, parse_terms
from daam.prompt.typed_words import entry_words, mark_columns

pytest.importorskip("diffusers", minversion="0.42", reason="older ones lack some of these pipelines")

from daam.hosts.diffusers_columns import Framed, fitted, framed_table, joined, stretched
from daam.hosts.diffusers_prompts import prompts_of
from tests import joint_pipelines as made

TOKENIZERS = {"t5": made.t5_tokenizer, "qwen": made.qwen_tokenizer, "gemma": made.gemma_tokenizer}


def columns(table: Any) -> tuple[TokenColumn, ...]:
    return tuple(table.parts[0].schedule[0].columns)


def words(table: Any) -> list[str]:
    return [word.text for word in entry_words(table.parts[0].schedule[0])]


def found(term: str, table: Any) -> list[tuple[int, ...]]:
    return [place.columns for place in find_term(parse_terms(term)[0], table)]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle", ["a", "red", "circle"]),
        ("  Red,  (blue)circle! ", ["Red", "blue", "circle"]),
        ("1girl, 8k 2024", ["1girl", "8k", "2024"]),
        ("the cat's hat, don't", ["the", "cat's", "hat", "don't"]),
        ("red-haired café 🙂", ["red", "haired", "café", "🙂"]),
        ("a\ncat\t\ton", ["a", "cat", "on"]),
        ("", []),
    ],
)
def test_words_are_those_of_their_writers_whatever_the_tokenizer(name: str, prompt: str, expected: list[str]) -> None:
    table = framed_table(prompt, TOKENIZERS[name](), Framed(prompt))
    assert words(table) == expected
    ids = TOKENIZERS[name]()(prompt)["input_ids"]
    assert [column.token for column in columns(table)] == ids
    for column in columns(table):
        assert (column.span is None) == (column.word is None)
        if column.span is not None:
            assert column.piece == prompt[slice(*column.span)] and column.piece.strip() == column.piece != ""


def test_a_word_of_several_tokens_has_all_their_columns() -> None:
    prompt = "a greenish circle"
    tokenizer = made.qwen_tokenizer()
    table = framed_table(prompt, tokenizer, Framed(prompt))
    first, last = len(tokenizer("a")["input_ids"]), len(tokenizer("a greenish")["input_ids"])
    assert last - first > 1 and found("greenish", table) == [tuple(range(first, last))]


def test_a_script_without_blanks_has_the_tokenizers_words_and_any_run_of_them_may_be_named() -> None:
    prompt = "一只红色的猫 cat"
    table = framed_table(prompt, made.qwen_tokenizer(), Framed(prompt))
    assert words(table) == ["一", "只", "红", "色", "的", "猫", "cat"]
    (red,), (phrase,) = found("红色", table), found("红色的猫", table)
    assert set(red) < set(phrase) and {prompt[slice(*columns(table)[place].span)] for place in red} == {"红", "色"}


def test_what_the_template_added_is_no_word_even_if_it_is_the_same() -> None:
    prompt = "user"
    pipeline = made.z_image()
    table = prompts_of(pipeline).table(prompt, {}, "positive")
    text = "<|im_start|>user\nuser<|im_end|>\n<|im_start|>assistant\n"
    before = len(made.qwen_tokenizer()("<|im_start|>user\n")["input_ids"])
    count = len(made.qwen_tokenizer()(prompt)["input_ids"])
    assert [column.token for column in columns(table)] == made.qwen_tokenizer()(text)["input_ids"]
    assert words(table) == ["user"] and found("user", table) == [tuple(range(before, before + count))]
    kinds = [column.kind for column in columns(table)]
    assert set(kinds[:before]) == {"start"} and set(kinds[before + count :]) == {"end"}
    assert mark_columns(table.parts[0].schedule[0], "<end>") == (before + count,)


def test_a_system_prompt_is_put_before_the_positive_prompt_alone() -> None:
    kind = prompts_of(made.lumina())
    positive, negative = (kind.table("cat", {"system_prompt": "a cat is"}, side) for side in ("positive", "negative"))
    assert len(columns(positive)) > len(columns(negative)) and words(positive) == words(negative) == ["cat"]
    (own,) = found("cat", positive)
    before = len(made.gemma_tokenizer()("a cat is <Prompt Start>")["input_ids"])
    assert own == tuple(range(before, before + len(own)))


def test_the_first_tokens_that_a_pipeline_cuts_off_are_no_columns() -> None:
    pipeline = made.qwen()
    table = prompts_of(pipeline).table("a cat", {}, "positive")
    whole = made.qwen_tokenizer()(pipeline.prompt_template_encode.format("a cat"))["input_ids"]
    assert [column.token for column in columns(table)] == whole[34:]
    assert words(table) == ["a", "cat"]


def test_a_text_that_is_too_long_ends_where_the_pipeline_cuts_it() -> None:
    prompt = "a cat " * 20
    table = prompts_of(made.flux()).table(prompt, {"max_sequence_length": 7}, "positive")
    assert words(table) == ["a", "cat"] * 3 and columns(table)[-1].kind == "end"


def test_a_template_that_changes_what_was_typed_is_refused() -> None:
    pipeline = made.z_image()
    tokenizer = pipeline.tokenizer
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = own.replace("message.content", "message.content | upper")
        with pytest.raises(PromptError, match="chat template changes what was typed"):
            prompts_of(pipeline).table("a cat", {}, "positive")
    finally:
        tokenizer.chat_template = own


def test_a_tokenizer_without_positions_is_refused() -> None:
    with pytest.raises(PromptError, match="use a fast tokenizer"):
        framed_table("a cat", object(), Framed("a cat"))


def test_a_prompt_that_was_encoded_to_another_length_is_refused() -> None:
    table = framed_table("a cat", made.t5_tokenizer(), Framed("a cat"))
    assert len(columns(fitted(table, 8, 3))) == 3 and len(columns(fitted(table, 8, None))) == 8
    for size, length in ((2, None), (8, 4)):
        with pytest.raises(TraceError, match="to be encoded to 3 columns, got"):
            fitted(table, size, length)


def test_columns_of_pictures_stand_between_the_template_and_what_was_typed() -> None:
    table = framed_table("a cat", made.qwen_tokenizer(), Framed("<|im_start|>a cat<|im_end|>", 12))
    own = columns(table)
    wider = columns(stretched(table, len(own) + 5))
    assert [column.token for column in wider[6:]] == [column.token for column in own[1:]]
    assert [column.column for column in wider] == list(range(len(own) + 5))
    assert all(column.span is None for column in wider[:6])


def test_pieces_of_a_word_of_two_encoders_are_one_word() -> None:
    kind = prompts_of(made.sd3())
    table = kind.table("a red circle", {"max_sequence_length": 16}, "positive")
    assert len(columns(table)) == 77 + 16 and words(table) == ["a", "red", "circle"]
    assert found("red", table) == [(2, 78)] and found("red circle", table) == [(2, 78, 3, 79)]
    other = kind.table("a red circle", {"prompt": "a red circle", "prompt_3": "a cat"}, "positive")
    assert found("red", other) == [(2,)]
    alone = prompts_of(made.sd3(with_t5=False)).table("a red circle", {}, "positive")
    assert found("red", alone) == [(2,)] and len(columns(alone)) == 77 + 256


def test_a_word_that_only_the_second_encoder_got_is_a_word_of_its_own() -> None:
    first = framed_table("a cat on", made.t5_tokenizer(), Framed("a cat on", limit=3))
    second = framed_table("a cat on", made.t5_tokenizer(), Framed("a cat on"))
    table = joined(first, second, 9)
    assert words(table) == ["a", "cat", "on"] and found("cat", table) == [(1, 4)] and found("on", table) == [(5,)]
