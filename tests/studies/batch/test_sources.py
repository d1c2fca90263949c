"""Where prompts come from: each kind of source, its ids and seeds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daam.errors import SettingError
from daam.studies.batch import sources
from daam.studies.batch.items import Item


def prompts(rows: sources.Rows, **how: object) -> list[str]:
    return [item.prompt for item in sources.make_items(rows, **{"seed": 0, **how})]  # type: ignore[arg-type]


def test_lines_are_numbered_and_seeds_follow_each_other() -> None:
    first, second = sources.make_items(sources.read_prompts("a cat\n\n  a dog \n", "p.txt"), seed=7)
    assert (first, second) == (Item("000001", "a cat", 7), Item("000002", "a dog", 8))


def test_a_json_line_gives_what_it_names() -> None:
    text = '{"prompt": "a cat", "id": "x", "seed": 3, "negative": "a dog", "group": "b"}\n{"prompt": "a cow"}'
    first, second = sources.make_items(sources.read_prompts(text, "p.jsonl"), seed=5)
    assert first == Item("x", "a cat", 3, "a dog", {"group": "b"})
    assert second == Item("000002", "a cow", 6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "a"}\n{"prompt"', "line 2: expected a JSON object"),
        ('{"id": "a"}', 'expected an object with a "prompt"'),
        ('{"prompt": "a", "id": "../b"}', "id: expected at most 120 letters"),
        ('{"prompt": "a", "id": "b"}\n{"prompt": "c", "id": "b"}', "two have 'b'"),
        ('{"prompt": "a", "seed": -1}', "seed: expected 0"),
        ('{"prompt": "  "}', "expected a prompt, got an empty one"),
        ("", "expected at least one"),
    ],
)
def test_what_does_not_fit_is_named(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said.replace("(", r"\(")):
        prompts(sources.read_prompts(text, "p.jsonl"))


def test_a_shuffle_is_the_same_each_time_and_leaves_ids_and_seeds_with_their_prompts() -> None:
    text = "\n".join(f"prompt {number}" for number in range(50))
    shuffled = sources.make_items(sources.read_prompts(text, ""), seed=0, shuffle=3, limit=20)
    assert shuffled == sources.make_items(sources.read_prompts(text, ""), seed=0, shuffle=3, limit=20)
    assert len(shuffled) == 20 and [item.seed for item in shuffled] != list(range(20))
    assert all(item.prompt == f"prompt {item.seed}" and int(item.id) == item.seed + 1 for item in shuffled)


def test_captions_of_coco_keep_their_ids_and_pictures() -> None:
    text = json.dumps({"images": [], "annotations": [{"id": 12, "image_id": 3, "caption": "A cat \n sits. "}]})
    (item,) = sources.make_items(sources.read_captions(text, "c.json"), seed=1)
    assert item == Item("12", "A cat sits.", 1, "", {"image_id": 3})
    with pytest.raises(SettingError, match="expected COCO's captions"):
        list(sources.read_captions('{"annotations": [{"id": 1}]}', "c.json"))


def test_unreal_captions_get_nouns_of_other_captions_of_the_same_number_with_their_article() -> None:
    rows = [("1", "A cat on an old boat", {}), ("2", "an owl and two dogs", {}), ("3", "three cows", {})]
    nouns = {"cat": "NN", "boat": "NN", "owl": "NN", "dogs": "NNS", "cows": "NNS"}

    def nouns_of(texts: list[str]) -> list[list[tuple[int, int, str]]]:
        return [
            sorted(
                (text.index(noun), text.index(noun) + len(noun), kind) for noun, kind in nouns.items() if noun in text
            )
            for text in texts
        ]

    for seed in range(20):
        made = list(sources.unreal(iter(rows), nouns_of, seed))  # type: ignore[arg-type]
        assert made == list(sources.unreal(iter(rows), nouns_of, seed))  # type: ignore[arg-type]
        (_, first, known), (_, second, _), (_, third, _) = made
        one, two = known["nouns"]
        assert one in ("boat", "owl") and two in ("cat", "owl")
        assert first == f"{'An' if one == 'owl' else 'A'} {one} on an old {two}"
        assert second.endswith("two cows") and second.split()[:2] in (["a", "cat"], ["a", "boat"])
        assert third == "three dogs"


def test_a_template_is_filled_by_number_or_by_name() -> None:
    assert prompts(sources.fill_template("a {0} on a {1}", "cat\tmat\ndog\tlog\n", "w")) == [
        "a cat on a mat", "a dog on a log",
    ]  # fmt: skip
    (item,) = sources.make_items(sources.fill_template("a {noun}", "adjective\tnoun\nred\tcat\n", "w"), seed=0)
    assert item.prompt == "a cat" and item.data == {"words": {"adjective": "red", "noun": "cat"}}
    with pytest.raises(SettingError, match="line 1: the template"):
        prompts(sources.fill_template("a {2}", "cat\tmat\n", "w"))
    with pytest.raises(SettingError, match="expected places"):
        prompts(sources.fill_template("a cat", "cat\n", "w"))


def test_classes_of_words_give_pairs_within_and_as_many_across() -> None:
    text = json.dumps({"animal": ["cat", "dog", "owl"], "vehicle": ["boat", "car"]})
    items = sources.make_items(sources.read_conjunctions(text, "c", None, 0), seed=0)
    groups = [item.data["group"] for item in items]
    assert groups == ["cohyponyms"] * 4 + ["unrelated"] * 4
    assert items[1].prompt == "a cat and an owl"
    animals = {"cat", "dog", "owl"}
    assert all((item.data["first"] in animals) != (item.data["second"] in animals) for item in items[4:])
    pairs = json.dumps({"unrelated": [["red circle", "blue boat"]]})
    assert prompts(sources.read_conjunctions(pairs, "c", "{0} beside {1}", 0)) == ["red circle beside blue boat"]
    with pytest.raises(SettingError, match="expected"):
        prompts(sources.read_conjunctions('{"unrelated": [["a"]]}', "c", None, 0))


def test_an_earlier_folder_is_generated_again_with_its_ids_seeds_and_data(tmp_path: Path) -> None:
    place = tmp_path / "items" / "x1"
    place.mkdir(parents=True)
    (place / "prompt.txt").write_text("a cat\n")
    with pytest.raises(SettingError, match="seed.txt cannot be read"):
        prompts(sources.read_folder(tmp_path))
    (place / "seed.txt").write_text("9\n")
    (place / "annotations.json").write_text('{"group": "b", "negative": "a dog"}')
    assert sources.make_items(sources.read_folder(tmp_path), seed=0) == [
        Item("x1", "a cat", 9, "a dog", {"group": "b"})
    ]
    with pytest.raises(SettingError, match="expected folders with a prompt.txt"):
        prompts(sources.read_folder(tmp_path / "items" / "x1"))
