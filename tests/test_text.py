"""Text: the corpora's known answers, what is kept on disk, and what is missing said at once."""

import hashlib
import threading
import time

import numpy as np
import pytest
import torch

import kvgpt
from kvgpt import hub, text

WIKITEXT_SHA256 = "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08"


@pytest.fixture
def wikitext(data_folder):
    path = data_folder / "wikitext-2-raw-test.txt"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == WIKITEXT_SHA256
    return path


@pytest.fixture
def gpt2_encoding(data_folder, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_folder / "tiktoken-cache"))
    return text.GPT2()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kvgpt"


class Slow:
    """An encoding of three-letter tokens that counts how often it is asked."""

    name, vocab_size, eot = "slow", 900, 899

    def __init__(self, fingerprint="slow-1"):
        self.fingerprint, self.calls = fingerprint, 0

    def encode(self, written):
        self.calls += 1
        return np.array([sum(map(ord, written[i : i + 3])) % 899 for i in range(0, len(written), 3)], dtype=np.uint16)

    def decode_bytes(self, ids):
        return b"?" * len(ids)


def test_the_embedded_corpus_is_the_standard_librarys_text_with_its_last_tenth_held_out():
    from pydoc_data.topics import topics

    corpus = text.embedded()
    train, held_out = corpus.train, corpus.held_out
    whole = "".join(topics[name] for name in sorted(topics))
    assert "".join(train + held_out) == whole
    assert abs(len("".join(held_out)) / len(whole) - 0.1) < 1e-5
    assert corpus.sha256 == hashlib.sha256("\n\n".join(topics[name] for name in sorted(topics)).encode()).hexdigest()


def test_documents_are_told_apart_by_the_end_of_text():
    corpus = text.Corpus("two", ("ab", "c"), ("é",), "")
    encoding = text.tokenizer(257)
    assert corpus.ids("train", encoding).tolist() == [97, 98, 256, 99]
    assert corpus.ids("held_out", encoding).tolist() == [0xC3, 0xA9]
    assert encoding.decode_bytes([0xC3, 0xA9, 256]).decode() == "é"


def test_wikitext_2_has_its_published_number_of_tokens(wikitext, gpt2_encoding):
    corpus = text.corpus(str(wikitext))
    ids = corpus.ids("held_out", gpt2_encoding)
    assert len(ids) == 287_644
    assert gpt2_encoding.decode_bytes(ids[:4000].tolist()).decode() in corpus.held_out[0]


def test_rows_of_a_raw_split_are_those_of_the_hubs_dataset():
    raw = " \n = Title = \n \n Some text .\n"
    assert text.is_wikitext(raw)
    assert text.wikitext_rows(raw) == ["", " = Title = \n", "", " Some text .\n"]
    assert text.wikitext_rows(" a\u2028b \n") == [" a\u2028b \n"], "only a newline ends a row"
    assert not text.is_wikitext("A plain book.\n\nWith paragraphs.\n")


def test_a_text_is_encoded_once_and_kept(cache):
    encoding, words = Slow(), "the quick brown fox" * 10
    first = text.encoded(words, encoding)
    again = text.encoded(words, encoding)
    assert encoding.calls == 1 and np.array_equal(first, again)
    other = Slow("slow-2")
    text.encoded(words, other)
    text.encoded(words + "!", encoding)
    assert (encoding.calls, other.calls) == (2, 1), "another text or another encoding has a key of its own"
    assert len(list((cache / "tokens").iterdir())) == 3


@pytest.mark.parametrize(
    "spoil",
    [lambda data: b"", lambda data: data[:-3], lambda data: b"\x93NUMPY garbage", lambda data: data[:-2] + b"\xff\xff"],
)
def test_kept_tokens_that_are_broken_are_made_again(cache, spoil):
    encoding, words = Slow(), "the quick brown fox"
    good = text.encoded(words, encoding)
    (path,) = (cache / "tokens").iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    assert np.array_equal(text.encoded(words, encoding), good)
    assert encoding.calls == 2


def test_a_cache_folder_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    encoding = Slow()
    assert len(text.encoded("abcdef", encoding)) == 2


@pytest.mark.parametrize(
    ("ask", "fix"),
    [
        (text.GPT2, "kvgpt fetch gpt2-encoding"),
        (text.wikitext_2, "kvgpt fetch wikitext-2"),
        (lambda: kvgpt.GPT.from_pretrained("gpt2"), "kvgpt fetch openai-community/gpt2"),
    ],
)
def test_what_is_missing_offline_is_said_within_a_second_with_its_fix(ask, fix, tmp_path, monkeypatch):
    import huggingface_hub  # its import is not the wait that is measured

    assert huggingface_hub
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(hub, "reachable", lambda host, port=443: False)
    begun = time.monotonic()
    with pytest.raises(ValueError, match=fix):
        ask()
    assert time.monotonic() - begun < 1.0


def test_a_host_that_does_not_answer_is_given_up_within_a_second(monkeypatch):
    over = threading.Event()

    def hang(*args, **kwargs):
        over.wait(10)
        raise OSError("no answer")

    monkeypatch.setattr("kvgpt.hub.socket.create_connection", hang)
    begun = time.monotonic()
    assert not hub.reachable("example.invalid")
    assert time.monotonic() - begun < 1.0
    over.set()


@pytest.mark.parametrize(("name", "message"), [("nowhere.txt", "no corpus 'nowhere.txt'"), (None, "not UTF-8 text")])
def test_a_corpus_that_cannot_be_read_is_named(name, message, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=message):
        text.corpus(name or str(tmp_path / "latin.txt"))


def test_a_vocabulary_without_an_encoding_is_refused():
    with pytest.raises(ValueError, match=r"a vocabulary of 99 tokens: known: 257 \(bytes\), 50257 \(gpt2\)"):
        text.tokenizer(99)


def test_calibration_is_training_text_or_random_ids_for_random_weights():
    config = kvgpt.GPTConfig.preset("nano")
    ids = text.calibration(config, "shipped")
    trained_on = text.embedded().ids("train", text.tokenizer(257))
    assert ids.shape == (8, 256) and torch.equal(ids[0], trained_on[:256])
    random = text.calibration(config, "random:0")
    assert random.shape == (8, 256) and torch.equal(random, text.calibration(config, "random:5"))
    assert int(random.max()) == 256, "drawn from the whole vocabulary"
