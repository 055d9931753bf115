"""Perplexities that others have published for these weights and this text, where both are on this machine."""

import pytest
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

import kvgpt
from kvgpt import perplexity, text

PUBLISHED = {"gpt2": 29.94, "gpt2-large": 19.44}  # float32, windows of 1,024 that start 1,024 apart
ROUNDED = 0.02


@pytest.fixture(params=PUBLISHED)
def published(request):
    """A model whose weights are here already, and its perplexity: nothing is downloaded for a test."""
    name = request.param
    try:
        snapshot_download(f"openai-community/{name}", local_files_only=True, allow_patterns=["*.safetensors"])
    except LocalEntryNotFoundError:
        pytest.skip(f"needs the weights of {name}: kvgpt fetch {name}")
    return kvgpt.GPT.from_pretrained(name).float(), PUBLISHED[name]


def test_the_published_perplexity_of_wikitext_2_comes_out(published, data_folder, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_folder / "tiktoken-cache"))
    model, expected = published
    corpus = text.corpus(str(data_folder / "wikitext-2-raw-test.txt"))
    ids = corpus.ids("held_out", text.tokenizer(model.config.vocab_size))
    assert len(ids) == 287_644
    windows = perplexity.Windows.cut(ids, 1024, 1024)
    score = perplexity.teacher_forced(kvgpt.Engine(model, "v1", 1), windows)
    assert score.perplexity == pytest.approx(expected, abs=ROUNDED)
