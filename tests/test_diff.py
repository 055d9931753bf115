"""The command that says whether a cache's answers differ by rounding, by what it declares, or by a bug."""

import pytest
import torch

import kvgpt
from kvgpt import cli, perplexity, registry, text
from kvgpt.attention import PATHS
from kvgpt.caches.dense import DenseCache
from kvgpt.conformance import divergence, oracle, tolerances, uncached
from kvgpt.conformance.tolerances import TABLE

TOKENS, BOUNDARY = 24, 16


class LosesTheFirst(DenseCache):
    """Forgets its first token when more than BOUNDARY are held: wrong from that position on, and not before."""

    def read(self, layer):
        k, v = super().read(layer)
        start = int(k.size(2) > BOUNDARY)
        return k[:, :, start:], v[:, :, start:]


class Recent(kvgpt.KVCache):
    """The first token and the last seven."""

    window, sinks = 8, 1

    def __init__(self, shape):
        self.kept = [None] * shape.n_layer

    def append(self, layer, k, v):
        old = self.kept[layer] or (k[:, :, :0], v[:, :, :0])
        whole = [torch.cat(pair, dim=2) for pair in zip(old, (k, v), strict=True)]
        recent = max(1, whole[0].size(2) - self.window + self.sinks)
        self.kept[layer] = tuple(torch.cat((part[:, :, :1], part[:, :, recent:]), dim=2) for part in whole)

    def read(self, layer):
        return self.kept[layer]

    @property
    def nbytes(self):
        return sum(part.nbytes for pair in self.kept for part in pair or ())


class Silent(DenseCache):
    lossy = True  # and no round_trip


class Poisoned(DenseCache):
    def read(self, layer):
        k, v = super().read(layer)
        return k, v * (float("nan") if self.length == 4 else 1.0)


class Fails(DenseCache):
    def append(self, layer, k, v):
        if self.length == 5:
            raise ValueError("out of pages")
        super().append(layer, k, v)


@pytest.fixture(scope="module")
def model():
    return registry.open_model("nano", "pretrained", "float64")


@pytest.fixture(scope="module")
def ids():
    return text.corpus("embedded").ids("held_out", text.tokenizer(257))[: TOKENS + 1]


def told(capsys, *arguments):
    """The command's exit code, the rows of its table, and the lines of its summary."""
    code = cli.main(["diff", "--tokens", str(TOKENS), *arguments])
    header, table, summary = capsys.readouterr().out.split("\n\n")
    rows = table.splitlines()[2:]
    assert len(rows) == TOKENS and [row.split()[0] for row in rows] == [str(place) for place in range(TOKENS)]
    return code, header, [row.split()[-1] for row in rows], summary


@pytest.mark.parametrize("variant", ["v0", "v1", "v2", "v3", "v4", "v4a", "dense+matmul", "test_diff:Recent"])
def test_a_right_cache_agrees_with_its_own_right_answer(capsys, variant):
    code, header, kinds, summary = told(capsys, "--variant", variant)
    assert code == 0 and set(kinds) == {"rounding"}
    assert f"{variant} against its own right answer" in header
    assert "first divergence  none: " in summary and "1e-09 apart is allowed" in summary
    assert TABLE["semantics"].derivation in summary and "would show it" not in summary
    assert f"the same at all {TOKENS} positions" in summary
    assert f"verdict           agreed: {variant} differs by no more than rounding" in summary


@pytest.mark.parametrize("variant", ["v3", "test_diff:Recent"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_in_lower_dtypes_an_exact_cache_is_judged_by_plain_torch(capsys, dtype, variant):
    code, header, kinds, summary = told(capsys, "--variant", variant, "--dtype", dtype)
    assert code == 0 and set(kinds) == {"rounding"} and f"nano in {dtype} on cpu" in header
    assert TABLE["error ratio"].derivation in summary
    assert f" passes in torch.{dtype}; float64 would show it" in summary


@pytest.mark.parametrize("window", [None, 8])
def test_plain_torch_without_a_cache_is_right_by_every_path(model, ids, window):
    truth = oracle.logits(model.state_dict(), ids[None], model.config.n_head, window=window, sinks=1)
    answers = uncached.logits(model, ids[None], window, 1)
    assert len(answers) == 2 * len(PATHS) and all(tolerances.exact(answer, truth) for answer in answers)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_in_every_dtype_two_exact_caches_differ_by_rounding(capsys, dtype):
    code, _, kinds, summary = told(capsys, "--variant", "v1", "--against", "v0", "--dtype", dtype)
    assert code == 0 and set(kinds) == {"rounding"} and "agreed: v1 and v0 differ by no more than rounding" in summary


@pytest.mark.parametrize(
    ("variant", "against", "reason"),
    [
        ("v2", "v1", "explained by loss (v2: Int8Cache, v1: none)\n"),
        ("v3", "v1", "explained by sharing (v3: cla2, v1: none)\n"),
        ("v1", "v4", "explained by loss (v1: none, v4: Int8Cache) and sharing (v1: none, v4: cla2)\n"),
        ("v4a", "v4", "explained by alignment (v4a: qalign, v4: none)\n"),
    ],
)
def test_what_only_one_of_them_declares_explains_a_difference(capsys, variant, against, reason):
    code, header, kinds, summary = told(capsys, "--variant", variant, "--against", against)
    assert code == 0 and f"{variant} against {against}: " in header
    assert "explained" in kinds and "BUG" not in kinds and reason in summary
    assert f"first divergence  position {kinds.index('explained')}, after " in summary
    assert "2e-09 apart is allowed" in summary


def test_a_window_explains_what_differs_once_it_has_moved(capsys):
    code, _, kinds, summary = told(capsys, "--variant", "test_diff:Recent", "--against", "v1")
    assert code == 0 and kinds == ["rounding"] * 8 + ["explained"] * (TOKENS - 8)
    assert "explained by window (test_diff:Recent: 8, sinks 1, v1: none)" in summary


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_bug_is_found_at_its_position(capsys, dtype):
    code, header, kinds, summary = told(capsys, "--variant", "test_diff:LosesTheFirst", "--dtype", dtype)
    assert code == 1 and kinds == ["rounding"] * BOUNDARY + ["BUG"] * (TOKENS - BOUNDARY)
    assert header.startswith(f"imported test_diff:LosesTheFirst from {__file__}\n")
    assert f"first divergence  position {BOUNDARY}, after " in summary
    assert "a bug, not rounding: test_diff:LosesTheFirst is " in summary
    verdict = f"BUG: test_diff:LosesTheFirst departs from its own right answer at position {BOUNDARY}, "
    assert verdict + f"and is wrong at {TOKENS - BOUNDARY} of {TOKENS}" in summary


def test_a_bug_is_not_hidden_by_a_sharing_that_explains_the_rest(capsys):
    arguments = ["--variant", "test_diff:LosesTheFirst+cla2", "--against", "v1"]
    code, _, kinds, summary = told(capsys, *arguments)
    assert code == 1 and kinds == ["explained"] * BOUNDARY + ["BUG"] * (TOKENS - BOUNDARY)
    assert "first divergence  position 0, " in summary and f"first bug         position {BOUNDARY}, " in summary
    assert told(capsys, "--variant", "test_diff:LosesTheFirst+cla2", "--against", "v3")[2].count("BUG") == 8


def test_a_bug_of_the_reference_is_not_laid_to_the_variant(capsys):
    code, _, kinds, summary = told(capsys, "--variant", "v2", "--against", "test_diff:LosesTheFirst")
    assert code == 1 and kinds.index("BUG") == BOUNDARY
    assert "BUG: test_diff:LosesTheFirst departs from its own right answer" in summary


def test_a_bug_in_the_mean_alone_has_a_position_too():
    truth = torch.zeros(8, 100, dtype=torch.float64)
    plain, out = truth.float(), truth.float()
    plain[0, 0] = 1.0
    out[3:] = 0.5
    errors, verdict, rule, rounding = divergence.measured(out, [plain], truth)
    assert not verdict and rule is TABLE["mean error ratio"] and rounding == pytest.approx(3.0)
    assert (errors > verdict.allowed).nonzero().flatten().tolist() == [3, 4, 5, 6, 7]
    out[3:] = 4.0
    assert divergence.measured(out, [plain], truth)[2] is TABLE["error ratio"]


def test_an_answer_that_is_no_number_is_a_bug(capsys):
    code, _, kinds, summary = told(capsys, "--variant", "test_diff:Poisoned", "--against", "v2")
    assert code == 1 and kinds == ["explained"] * 4 + ["BUG"] * (TOKENS - 4)
    assert "test_diff:Poisoned is nan from its own right answer" in summary


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_perplexities_run_as_those_of_the_perplexity_module(model, ids, variant):
    found = divergence.compare(model, variant, ids, "v3")
    windows = perplexity.Windows.cut(ids, len(ids), len(ids))
    for side, name in enumerate((variant, "v3")):
        score = perplexity.autoregressive(kvgpt.Engine(model, name), windows)
        running = (score.nll.cumsum(0) / torch.arange(1, TOKENS + 1)).exp().tolist()
        assert [one.perplexity[side] for one in found.positions] == pytest.approx(running, rel=1e-12)
        assert found.positions[-1].perplexity[side] == pytest.approx(score.perplexity, rel=1e-12)


def test_best_tokens_differ_only_where_two_are_close(capsys, model, ids):
    found = divergence.compare(model, "v3", ids, "v1")
    apart = [one for one in found.positions if one.best[0] != one.best[1]]
    assert apart and all(one.margin <= 2 * one.difference for one in apart)
    _, _, _, summary = told(capsys, "--variant", "v3", "--against", "v1")
    assert f"another at {len(apart)} of {TOKENS} positions" in summary
    assert f"here {apart[0].margin:.2g} and {2 * apart[0].difference:.2g}" in summary


def test_a_corpus_of_ones_own_may_be_just_long_enough(capsys, tmp_path):
    (tmp_path / "own.txt").write_text("\x1b[31mé" + "x" * (TOKENS - 6))
    assert len((tmp_path / "own.txt").read_bytes()) == TOKENS + 1
    cli.main(["diff", "--variant", "v1", "--corpus", str(tmp_path / "own.txt"), "--tokens", str(TOKENS)])
    out = capsys.readouterr().out
    assert r"'\x1b'" in out and "\x1b" not in out, "a token must not steer the terminal"
    assert r"b'\xc3'" in out and f"{TOKENS} tokens of own.txt" in out


def test_a_device_that_is_not_there_is_said_at_once(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cli.main(["diff", "--variant", "v1", "--device", "cuda"]) == 2
    assert "--device cuda: torch sees no such device" in capsys.readouterr().err


def test_where_a_cache_fails_is_told():
    with pytest.raises(RuntimeError, match="test_diff:Fails failed at position 5: ValueError: out of pages"):
        cli.main(["diff", "--variant", "test_diff:Fails"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "v9"], "unknown variant 'v9'"),
        (["--against", "v9"], "unknown variant 'v9'"),
        (["--variant", "nowhere:Cache"], "no cache at 'nowhere:Cache'"),
        (["--variant", "test_diff:told"], "no subclass of kvgpt.KVCache"),
        (["--variant", "test_diff:Silent"], "has no round_trip()"),
        (["--variant", "v2", "--dtype", "bfloat16"], "v2 is lossy: in torch.bfloat16 its codes flip"),
        (["--against", "int8", "--dtype", "float32"], "int8 is lossy"),
        (["--tokens", "0"], "--tokens 0: nano has positions for 1 to 256"),
        (["--tokens", "257"], "--tokens 257: nano has positions for 1 to 256"),
        (["--corpus", "nowhere.txt"], "no corpus 'nowhere.txt'"),
        (["--corpus", "EMPTY"], "has 0 tokens: --tokens 50 needs 51"),
        (["--model", "./nowhere"], "no checkpoint at ./nowhere"),
    ],
)
def test_bad_input_is_one_line_and_code_two(capsys, tmp_path, arguments, message):
    (tmp_path / "empty.txt").touch()
    arguments = [str(tmp_path / "empty.txt") if word == "EMPTY" else word for word in arguments]
    assert cli.main(["diff", "--variant", "v1", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err
