"""Any string gives a table or our own error, and soon."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.prompt_fuzz import fuzz
from daam.errors import PromptError, SettingError
from daam.prompt import parse_prompt, prompt_to_data

from .conftest import TOKENIZER_FOLDER
from .test_spans import PROMPTS, TOKENIZER

SECONDS = 8
SIGNS = st.text(st.sampled_from("()[]:|\\,.015e+- \nAa"), max_size=40)
ANY_TEXT = st.text(st.characters(), max_size=80)


@settings(deadline=None, max_examples=150)
@given(PROMPTS | SIGNS | ANY_TEXT, st.booleans(), st.sampled_from(["None", "Ignore", "Original", "No norm"]))
def test_any_string_gives_a_table_or_our_error(prompt, old, emphasis):
    try:
        table = parse_prompt(prompt, TOKENIZER, steps=5, use_old_scheduling=old, emphasis=emphasis)
    except PromptError as error:
        assert str(error)
        return
    assert prompt_to_data(table)["prompt"] == prompt
    for part in table.parts:
        assert part.schedule[-1].end_at_step == 5
        lasts = [0, *(entry.end_at_step for entry in part.schedule)]
        assert [entry.first_step for entry in part.schedule] == [last + 1 for last in lasts[:-1]]


@pytest.mark.parametrize(
    "prompt",
    [
        "(" * 10_000,
        "[" * 10_000 + "a",
        "(" * 5_000 + "a" + ")" * 5_000,
        "[" * 5_000 + "a" + "]" * 5_000,
        "(a" * 5_000 + ")" * 5_000,
        "(a" * 33_000 + ")" * 33_000,
        "[a:" * 2_500 + ":3]" * 2_500,
        "[a|" * 2_500 + "]" * 2_500,
        "[a|b]" * 2_500,
        "[a:b:3]]" * 2_500,
        "[a|" + "cat " * 24_000 + "]",
        "," * 1_000_000,
        "," * 100_000,
        "a," * 50_000,
        " " * 100_000 + "x",
        ":" * 100_000,
        ": " * 50_000,
        "<a:" * 33_000,
        " BREAK" * 16_000,
        " BREAK" * 3_999,
        " " * 50_000 + "BREAK" + " " * 49_990,
        "AND " * 25_000,
        "\\" * 99_999,
        "1" * 100_000,
        "x:" + "1" * 90_000,
        "(x:" + "1" * 90_000 + ")",
        "[a:" + "9" * 90_000 + "]",
        "😀" * 100_000,
        "é&amp;" * 16_000,
        "Ã©" * 50_000,
        "mystyle " * 12_000,
    ],
    ids=lambda prompt: f"{prompt[:12]!r}x{len(prompt)}",
)
def test_a_huge_prompt_is_answered_or_refused_soon(prompt):
    since = time.process_time()
    try:
        parse_prompt(prompt, TOKENIZER, embeddings={"mystyle": 3})
    except PromptError as error:
        assert "at most" in str(error) or "finite" in str(error)
    assert time.process_time() - since < SECONDS


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("(cat:..)", r"weight in ':\.\.\)' is no number: got '\.\.'"),
        ("[a:b:1e999]", "finite"),
        ("," * 1_000_000, "1000000 characters; at most 100000"),
        (" BREAK" * 4_000 + " a", "4001 chunks of 77 tokens; at most 4000"),
        ("[a|b]" + " BREAK" * 2_000 + " a", "4001 chunks of 77 tokens; at most 4000"),
        ("(a:" + "9" * 44 + ")", "a weight that is too large; write a finite number"),
        ("((a:" + "9" * 30 + "):" + "9" * 30 + ")", "a weight that is too large"),
        ("a:" + "9" * 400, "a weight that is too large"),
        ("big", "76 vectors; a chunk holds at most 75"),
    ],
)
def test_a_refused_prompt_says_why(tokenizer, prompt, message):
    with pytest.raises(PromptError, match=message):
        parse_prompt(prompt, tokenizer, embeddings={"big": 76})


def test_a_number_of_an_edit_may_have_any_blank_beside_it():
    table = parse_prompt("[cat:dog:0.5\x1c]", TOKENIZER, steps=10)
    assert [(entry.end_at_step, entry.text) for entry in table.parts[0].schedule] == [(5, "cat"), (10, "dog")]


def test_a_lone_surrogate_is_read_as_the_sign_for_broken_text():
    columns = parse_prompt("a \ud800cat", TOKENIZER).parts[0].schedule[0].columns
    assert [column.span for column in columns if column.piece == "cat"] == [(3, 6)]


def test_hostile_prompts_end_in_a_result_or_our_error():
    assert fuzz(60, seed=7) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": 0},
        {"hires_steps": 0},
        {"steps": 10**9},
        {"comma_padding": -1},
        {"emphasis": "Loud"},
        {"embeddings": {"x": 0}},
        {"embeddings": {" ": 1}},
    ],
)
def test_a_setting_that_does_not_fit_is_refused(tokenizer, arguments):
    with pytest.raises(SettingError, match="expected|give it"):
        parse_prompt("a cat", tokenizer, **arguments)


def test_the_tokenizer_folder_exists():
    assert TOKENIZER_FOLDER.is_dir()
