"""Where a batch's prompts come from: one function for each kind of source. Knows files, no model."""

from __future__ import annotations

import csv
import io
import itertools
import json
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from daam.errors import SettingError
from daam.studies.batch.folder import ANNOTATIONS, PROMPT, SEED
from daam.studies.batch.items import Item

Rows = Iterator[tuple[str | None, str, dict[str, Any]]]
"""(id or None, prompt, what else is known: seed, negative and data)."""
CONJUNCTION = "{0} and {1}"
GROUPS = ("cohyponyms", "unrelated")


def make_items(rows: Rows, *, seed: int, shuffle: int | None = None, limit: int | None = None) -> list[Item]:
    """Items of a source; rows without an id are numbered from 1, rows without a seed get `seed` plus their number.

    Args:
        shuffle: a seed that puts the rows in a random order first; None leaves theirs.
        limit: only the first so many, after the shuffle.

    Raises:
        SettingError: there are none, two have one id, or one of them does not fit.
    """
    numbered = list(enumerate(rows, 1))
    if shuffle is not None:
        random.Random(shuffle).shuffle(numbered)
    width = max(6, len(str(len(numbered))))
    items: dict[str, Item] = {}
    for number, (name, prompt, known) in numbered[:limit]:
        own_id = f"{number:0{width}}" if name is None else name
        if own_id in items:
            raise SettingError(f"prompts: expected an id of its own for each, two have {own_id!r}")
        own_seed = known.get("seed")
        data = {key: value for key, value in known.items() if key not in ("seed", "negative")}
        items[own_id] = Item(
            own_id, prompt, seed + number - 1 if own_seed is None else own_seed, known.get("negative") or "", data
        )
    if not items:
        raise SettingError("prompts: expected at least one, the source has none")
    return list(items.values())


def read_prompts(text: str, name: str) -> Rows:
    """A prompt on each line, or a JSON object on each: prompt, and if wanted id, seed, negative and more.

    Raises:
        SettingError: a line cannot be read; the text names it.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    is_json = name.endswith((".jsonl", ".ndjson")) or bool(lines and lines[0][1].startswith("{"))
    for number, line in lines:
        if not is_json:
            yield None, line, {}
            continue
        try:
            data = json.loads(line)
        except ValueError as error:
            raise SettingError(f"{name}, line {number}: expected a JSON object, got {line[:60]!r}: {error}") from error
        if not isinstance(data, dict) or not isinstance(data.get("prompt"), str):
            raise SettingError(f'{name}, line {number}: expected an object with a "prompt", got {line[:60]!r}')
        own_id = data.pop("id", None)
        yield None if own_id is None else str(own_id), data.pop("prompt"), data


def read_captions(text: str, name: str) -> Rows:
    """COCO's captions: each with the id of its annotation.

    Raises:
        SettingError: it is no such file.
    """
    data = _json(text, name)
    try:
        rows = [(str(row["id"]), " ".join(str(row["caption"]).split()), row["image_id"]) for row in data["annotations"]]
    except (KeyError, TypeError) as error:
        raise SettingError(f"{name}: expected COCO's captions (annotations with id, image_id, caption)") from error
    for own_id, caption, image in rows:
        if caption:
            yield own_id, caption, {"image_id": image}


def unreal(
    rows: Rows, nouns_of: Callable[[Sequence[str]], Sequence[Sequence[tuple[int, int, str]]]], seed: int
) -> Rows:
    """Captions with random nouns, of other captions, in the places of their own.

    Args:
        nouns_of: of each text its nouns: begin, end and kind; a noun is only replaced by one of its kind.
        seed: of the choice.
    """
    captions = list(rows)
    found = nouns_of([caption for _, caption, _ in captions])
    by_kind: dict[str, list[str]] = {}
    for (_, caption, _), nouns in zip(captions, found):
        for begin, end, kind in nouns:
            by_kind.setdefault(kind, []).append(caption[begin:end].lower())
    choices = {kind: sorted(set(words)) for kind, words in by_kind.items()}
    rng = random.Random(seed)
    for (own_id, caption, known), nouns in zip(captions, found):
        pieces, end, chosen = [], 0, []
        for begin, after, kind in nouns:
            own = caption[begin:after].lower()
            others = [word for word in choices[kind] if word != own] or [own]
            chosen.append(rng.choice(others))
            pieces += [_fit_article(caption[end:begin], chosen[-1]), chosen[-1]]
            end = after
        prompt = "".join(pieces) + caption[end:]
        yield own_id, prompt, {**known, "original": caption, "nouns": chosen}


def _article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"


def _fit_article(before: str, word: str) -> str:
    """The text before a word, with the article that fits where one stands right before it."""
    head, space, last = before.rstrip().rpartition(" ")
    if last.lower() in ("a", "an") and before != before.rstrip():
        article = _article(word)
        return f"{head}{space}{article.capitalize() if last[0].isupper() else article} "
    return before


def fill_template(template: str, table: str, name: str) -> Rows:
    """A template with the words of each row of a table of tab-separated values.

    `{0}` and `{}` are columns by their number; `{noun}` is the column of that name, which the first row then gives.

    Raises:
        SettingError: the template names a column that is not there, or none.
    """
    fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    if not fields:
        raise SettingError(f"template: expected places such as {{0}} or {{noun}}, got {template!r}")
    rows = [row for row in csv.reader(io.StringIO(table), delimiter="\t") if any(cell.strip() for cell in row)]
    has_names = any(field and not field.isdigit() for field in fields)
    header = [cell.strip() for cell in rows.pop(0)] if has_names and rows else []
    for number, row in enumerate(rows, 1 + has_names):
        cells = [cell.strip() for cell in row]
        named = dict(zip(header, cells))
        try:
            prompt = template.format(*cells, **named)
        except (KeyError, IndexError) as error:
            raise SettingError(
                f"{name}, line {number}: the template {template!r} asks for {error}, got {', '.join(named or cells)}"
            ) from error
        yield None, prompt, {"words": named or cells}


def read_conjunctions(text: str, name: str, template: str | None, seed: int) -> Rows:
    """Pairs of nouns in one prompt, cohyponyms (of one class) and unrelated ones (of two).

    The file has either the pairs, `{"cohyponyms": [["cat", "dog"]], "unrelated": [["cat", "boat"]]}`, or classes of
    words, `{"animal": ["cat", "dog"], "vehicle": ["boat", "car"]}`: then all pairs within a class are taken, and as
    many across classes, by the seed. A noun may have words before it: "red circle".

    Args:
        template: with {0} and {1}; by default "a cat and a boat".

    Raises:
        SettingError: the file is neither.
    """
    data = _json(text, name)
    expected = f'{name}: expected {{"cohyponyms": [[word, word]], "unrelated": …}} or {{"class": [word, word]}}'
    if not isinstance(data, dict) or not all(isinstance(value, list) for value in data.values()):
        raise SettingError(expected)
    values = [entry for value in data.values() for entry in value]
    if all(isinstance(entry, str) for entry in values):
        pairs = _pairs_of_classes(data, seed)
    elif set(data) <= set(GROUPS) and all(_is_pair(entry) for entry in values):
        pairs = [(group, first, second) for group in data for first, second in data[group]]
    else:
        raise SettingError(expected)
    for group, first, second in pairs:
        prompt = (template or CONJUNCTION).format(*(_with_article(word, template) for word in (first, second)))
        yield None, prompt, {"group": group, "first": first, "second": second}


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(word, str) for word in entry)


def _with_article(word: str, template: str | None) -> str:
    return word if template else f"{_article(word)} {word}"


def _pairs_of_classes(classes: Mapping[str, Sequence[str]], seed: int) -> list[tuple[str, str, str]]:
    within = [pair for words in classes.values() for pair in itertools.combinations(dict.fromkeys(words), 2)]
    across = [
        pair
        for some, others in itertools.combinations(classes.values(), 2)
        for pair in itertools.product(some, others)
        if pair[0] != pair[1]
    ]
    chosen = random.Random(seed).sample(across, min(len(across), len(within)))
    return [(GROUPS[0], *pair) for pair in within] + [(GROUPS[1], *pair) for pair in chosen]


def read_folder(folder: Path) -> Rows:
    """The prompts and seeds of an earlier batch, or of a folder with `<id>/prompt.txt` and `seed.txt`.

    Raises:
        SettingError: it has none, or a seed is no number.
    """
    root = folder / "items" if (folder / "items").is_dir() else folder
    found = sorted(path.parent for path in root.glob(f"*/{PROMPT}"))
    if not found:
        raise SettingError(f"regenerate: expected folders with a {PROMPT} in {root}, it has none")
    for place in found:
        known: dict[str, Any] = {}
        if (place / ANNOTATIONS).is_file():
            annotations = _json(read_text(place / ANNOTATIONS), str(place / ANNOTATIONS))
            known = annotations if isinstance(annotations, dict) else {"annotations": annotations}
        text = read_text(place / SEED).strip()
        if not text.isdigit():
            raise SettingError(f"{place / SEED}: expected a seed, got {text[:40]!r}")
        yield place.name, read_text(place / PROMPT).strip(), {**known, "seed": int(text)}


def read_text(path: Path) -> str:
    """
    Raises:
        SettingError: there is no such file, or it is no text in UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise SettingError(f"{path} cannot be read: {reason}") from error


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingError(f"{name}: expected JSON: {error}") from error
