"""The tokenizer of the built-in model, for all tests of prompts."""

from pathlib import Path

import pytest

import daam
from daam.prompt import ClipTokenizer

TOKENIZER_FOLDER = Path(daam.__file__).parent / "demo_model" / "weights" / "tokenizer"


@pytest.fixture(scope="session")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer.from_folder(TOKENIZER_FOLDER)
