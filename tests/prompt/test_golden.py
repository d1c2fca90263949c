"""The token table agrees with what a running AUTOMATIC1111 WebUI 1.10.1 made of the same prompts."""

import gzip
import json
from pathlib import Path

import pytest

from daam.errors import PromptError
from daam.prompt import parse_prompt, prompt_to_data

DATA = Path(__file__).parent.parent / "data"
RECORDINGS = ("a1111-prompts.json.gz", "a1111-tricky-prompts.json.gz")


def recorded():
    for name in RECORDINGS:
        recording = json.loads(gzip.decompress((DATA / name).read_bytes()))
        for number, case in enumerate(recording["cases"]):
            for index, result in enumerate(case["results"]):
                yield pytest.param(recording["embeddings"], case, result, id=f"{name[6:12]}-{number}-{index}")


def read(tokenizer, embeddings, case, prompt):
    options = case["options"]
    return parse_prompt(
        prompt,
        tokenizer,
        steps=case["steps"],
        hires_steps=case["hires_steps"],
        embeddings=embeddings,
        comma_padding=options.get("comma_padding_backtrack", 20),
        emphasis=options.get("emphasis", "Original"),
        negative=options.get("negative", False),
        use_old_scheduling=options.get("use_old_scheduling", False),
        extra_networks=False,
    )


@pytest.mark.parametrize(("embeddings", "case", "result"), recorded())
def test_agrees_with_the_recorded_host(tokenizer, embeddings, case, result):
    if "error" in result:
        with pytest.raises(PromptError, match="is no number"):
            read(tokenizer, embeddings, case, result["prompt"])
        return
    data = prompt_to_data(read(tokenizer, embeddings, case, result["prompt"]))
    for part in data["parts"]:
        for entry in part["schedule"]:
            columns = entry.pop("columns")
            chunks = entry["chunks"]
            assert [column["token"] for column in columns] == [token for chunk in chunks for token in chunk["tokens"]]
            assert [column["weight"] for column in columns] == [
                weight for chunk in chunks for weight in chunk["multipliers"]
            ]
            assert [column["column"] for column in columns] == list(range(77 * len(chunks)))
    assert data == result


def test_the_recording_has_one_error_of_the_host():
    assert sum("error" in parameter.values[2] for parameter in recorded() if parameter.id.startswith("prompt")) == 1
