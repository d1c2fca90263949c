"""The WebUI's rules, one by one, as its documentation and its source have them."""

import pytest

from daam.prompt import parse_prompt


def texts(tokenizer, prompt, **arguments):
    part = parse_prompt(prompt, tokenizer, **arguments).parts[0]
    return [(entry.end_at_step, entry.text) for entry in part.schedule]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("test", [(10, "test")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a:b]", [(10, "[a:b]")]),
        ("a [x|y", [(10, "a [x|y")]),
        ("[a:3] | b", [(10, "[a:3] | b")]),
        ("[a:3] \\", [(10, "[a:3] \\")]),
        ("[a:b:-5]", [(10, "b")]),
    ],
)
def test_editing_gives_the_texts_of_the_steps(tokenizer, prompt, expected):
    assert texts(tokenizer, prompt, steps=10) == expected


def test_an_empty_choice_of_an_alternation_counts(tokenizer):
    found = [text for _, text in texts(tokenizer, "[fe|||]male", steps=5)]
    assert found == ["female", "male", "male", "male", "female"]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("a [b:.5] c", [(10, "a b c")]), ("a [b:1.5] c", [(5, "a  c"), (10, "a b c")]), ("[b:13]", [(3, ""), (10, "b")])],
)
def test_the_hires_pass_counts_on_from_the_first_pass(tokenizer, prompt, expected):
    assert texts(tokenizer, prompt, steps=10, hires_steps=10) == expected


def test_the_old_scheduling_knows_no_hires_pass(tokenizer):
    assert texts(tokenizer, "[a:b:1.5]", steps=10, hires_steps=4, use_old_scheduling=True) == [(1, "a"), (10, "b")]


def test_a_negative_prompt_is_not_split_at_and(tokenizer):
    assert [part.text for part in parse_prompt("a AND b:2", tokenizer, negative=True).parts] == ["a AND b:2"]
    assert [(part.text, part.weight) for part in parse_prompt("a AND b:2", tokenizer).parts] == [("a", 1), (" b", 2)]


def test_tags_are_taken_out_and_reported(tokenizer):
    table = parse_prompt("a <lora:x:1>, <hypernet:y:0.5>", tokenizer)
    assert [(tag.text, tag.span) for tag in table.tags] == [("<lora:x:1>", (2, 12)), ("<hypernet:y:0.5>", (14, 30))]
    assert table.parts[0].text == "a ,"
    assert parse_prompt("a <lora:x:1>", tokenizer, extra_networks=False).tags == ()


def test_break_in_brackets_is_a_word(tokenizer):
    entry = parse_prompt("(a BREAK b:1.2)", tokenizer).parts[0].schedule[0]
    assert entry.attention == (("a", 1.2), ("BREAK", -1.2), ("b", 1.2)) and len(entry.chunks) == 1
    assert len(parse_prompt("a BREAK b", tokenizer).parts[0].schedule[0].chunks) == 2


def test_a_wrong_weight_is_text_where_emphasis_is_off(tokenizer):
    entry = parse_prompt("(cat:..)", tokenizer, emphasis="None").parts[0].schedule[0]
    assert "".join(column.piece for column in entry.columns) == "(cat:..)"
