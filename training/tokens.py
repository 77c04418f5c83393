"""Text into token ids, the same in training and in serving: the tokenizer file that the artefact carries."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """A fast tokenizer that neither pads nor cuts."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each text, special tokens included, at most `max_length` long: the end of a long text is cut."""
    encodings = tokenizer.encode_batch_fast(list(texts))
    return [_cut(encoding.ids, max_length) for encoding in encodings]


def _cut(ids: list[int], max_length: int) -> list[int]:
    return ids if len(ids) <= max_length else [*ids[: max_length - 1], ids[-1]]
