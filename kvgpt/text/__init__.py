"""Text and tokens: encodings, and corpora that are embedded, local, prepared or asked for by name."""

from kvgpt.corpora import cache_folder
from kvgpt.text.encodings import GPT2, Bytes, Tokenizer, tiktoken_folder, tokenizer
from kvgpt.text.kept import encoded
from kvgpt.text.named import calibration, corpus
from kvgpt.text.texts import Corpus, embedded, is_wikitext, read_text, wikitext_2, wikitext_rows
from kvgpt.text.tokens import Prepared

__all__ = [
    "GPT2",
    "Bytes",
    "Corpus",
    "Prepared",
    "Tokenizer",
    "cache_folder",
    "calibration",
    "corpus",
    "embedded",
    "encoded",
    "is_wikitext",
    "read_text",
    "tiktoken_folder",
    "tokenizer",
    "wikitext_2",
    "wikitext_rows",
]
