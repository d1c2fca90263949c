"""Where the embedded model's tokenizer lies. Apart from the pipelines: importing those takes seconds."""

from daam.demo_model import WEIGHTS

TOKENIZER = WEIGHTS / "tokenizer"
