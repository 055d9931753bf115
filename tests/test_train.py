"""Training: it learns, it repeats itself, and what cannot be trained is said before the first step."""

import dataclasses
import itertools
import math

import pytest
import torch

import kvgpt
from kvgpt import checkpoint, text
from kvgpt.curve import read
from kvgpt.train import Run, converted, fresh, train
from kvgpt.training.schedule import Schedule

CONFIG = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=257, block_size=16)
CORPUS = text.Corpus("alphabet", ("abcdefghijklmnopqrstuvwxyz" * 40,), ("abcdefghijklmnopqrstuvwxyz" * 8,), "0" * 64)
SHORT = Schedule(steps=60, batch_size=8, learning_rate=1e-2, warmup=10, evaluate_every=30, checkpoint_every=60)
QUICK = Schedule(steps=3, batch_size=2)


def quietly(line):
    pass


@pytest.fixture
def trained(tmp_path):
    """A model trained in a directory of its own, from fresh weights unless others are given."""
    count = itertools.count()

    def of(schedule, config=CONFIG, corpus=CORPUS, model=None, report=quietly, **options):
        model = model or fresh(config, schedule)
        return train(model, corpus, schedule, Run(tmp_path / str(next(count)), schedule, {}), report=report, **options)

    return of


@pytest.mark.parametrize("change", [{}, {"sharing": "cla2"}, {"n_kv_head": 1}, {"n_inner": 40}])
def test_a_model_learns_the_alphabet(trained, change):
    lines = []
    config = dataclasses.replace(CONFIG, **change)
    result = trained(SHORT, config, report=lines.append)
    metadata = result.metadata
    assert len(lines) == 2 and lines[-1].startswith("step 60/60")
    assert float(metadata["held_out_loss"]) < 0.5 * math.log(26), "no better than half of guessing letters"
    assert float(metadata["held_out_perplexity"]) == pytest.approx(math.exp(float(metadata["held_out_loss"])), rel=1e-4)
    assert (metadata["corpus"], metadata["seed"], metadata["tokens"]) == ("alphabet", "0", str(60 * 8 * 16))
    assert result.model.config == config


def test_the_curve_has_the_mean_loss_of_each_stretch_and_the_held_out_loss_where_it_was_taken(trained):
    whole, fine = trained(SHORT), trained(dataclasses.replace(SHORT, log_every=1))
    assert [row.step for row in whole.curve] == [10, 20, 30, 40, 50, 60]
    assert [row.tokens for row in whole.curve] == [step * 8 * 16 for step in (10, 20, 30, 40, 50, 60)]
    for stretch, row in enumerate(whole.curve):
        assert row.loss == pytest.approx(sum(one.loss for one in fine.curve[10 * stretch : 10 * stretch + 10]) / 10)
        assert row.learning_rate == SHORT.rate(row.step - 1) and row.gradient_norm > 0
    assert [row.held_out_loss is not None for row in whole.curve] == [False, False, True, False, False, True]
    assert whole.metadata["held_out_loss"] == f"{whole.curve[-1].held_out_loss:.6f}"


def test_the_heads_start_as_loud_as_the_schedule_says():
    loud, fresh_ones = fresh(CONFIG, Schedule(attention_gain=5.0)).state_dict(), kvgpt.GPT(CONFIG, seed=0).state_dict()
    for name, tensor in fresh_ones.items():
        assert torch.equal(loud[name], 5 * tensor if name.endswith("attn.c_proj.weight") else tensor), name


def test_the_same_seed_gives_the_same_weights_and_another_others(trained):
    one, two = (trained(QUICK).model.state_dict() for _ in range(2))
    other = trained(dataclasses.replace(QUICK, seed=1)).model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["wte.weight"], other["wte.weight"])


def test_gradients_of_micro_batches_add_up_to_those_of_one_batch(trained):
    schedule = dataclasses.replace(SHORT, steps=4, log_every=1)
    whole = trained(schedule)
    parts = trained(dataclasses.replace(schedule, batch_size=2, accumulate=4))
    for one, other in zip(whole.curve, parts.curve, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5) and other.tokens == one.tokens
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-4)


def test_mixed_precision_follows_float32_and_keeps_its_weights_in_it(trained):
    schedule = dataclasses.replace(SHORT, log_every=1)
    whole, mixed = trained(schedule), trained(dataclasses.replace(schedule, dtype="bfloat16"))
    assert all(parameter.dtype == torch.float32 for parameter in mixed.model.parameters())
    assert mixed.curve[0].loss == pytest.approx(whole.curve[0].loss, rel=1e-2)
    assert mixed.curve[0].loss != whole.curve[0].loss, "nothing was computed in bfloat16"
    assert mixed.curve[-1].held_out_loss < 0.5 * math.log(26)


def test_decay_spares_biases_and_norms(trained):
    still = Schedule(steps=1, batch_size=1, learning_rate=1e-3, weight_decay=100.0, warmup=0, clip=1e-12)
    before = fresh(CONFIG, still).state_dict()
    after = trained(still).model.state_dict()
    # The decay of one step takes a tenth; the step itself, one learning rate at most, stays below a hundredth.
    assert float(after["ln_f.weight"].mean()) == pytest.approx(1, abs=2e-3)
    matrix = "h.0.mlp.c_fc.weight"
    assert float(after[matrix].norm() / before[matrix].norm()) == pytest.approx(0.9, abs=0.01)


def test_the_rate_warms_up_and_falls_to_its_last_fraction():
    schedule = Schedule(steps=200, learning_rate=1.0, warmup=20, final_fraction=0.1)
    rates = [schedule.rate(step) for step in range(200)]
    assert rates[0] == pytest.approx(0.05, rel=0.01) and rates[-1] == pytest.approx(0.1)
    assert rates.index(max(rates)) in range(18, 22)
    assert all(after < before for before, after in itertools.pairwise(rates[25:]))


def test_the_cosine_may_end_before_the_last_step():
    schedule = Schedule(steps=200, learning_rate=1.0, warmup=0, final_fraction=0.1, decay_steps=50)
    assert schedule.rate(0) == 1.0 and schedule.rate(48) > 0.1
    assert [schedule.rate(step) for step in (49, 50, 120, 199)] == pytest.approx([0.1] * 4)


def test_training_goes_on_from_other_weights_converted_to_share(trained):
    parent = trained(SHORT).model
    before = {name: tensor.clone() for name, tensor in parent.state_dict().items()}
    ids = torch.randint(97, 123, (4, 16), generator=torch.Generator().manual_seed(0))
    schedule = dataclasses.replace(SHORT, steps=6, warmup=1)
    for kind in (None, "q"):
        start = converted(parent, "cla2", kind, ids)
        expected = parent.share("cla2") if kind is None else kvgpt.align(parent, ids, "cla2", kind)
        assert torch.equal(start(ids), expected(ids))
        assert start.config == dataclasses.replace(CONFIG, sharing="cla2"), "trained weights are nobody's alignment"
        healed = trained(schedule, model=start)
        assert healed.curve[-1].held_out_loss < 0.9 * trained(schedule, start.config).curve[-1].held_out_loss
    assert all(torch.equal(before[name], tensor) for name, tensor in parent.state_dict().items()), "it was trained too"


def test_an_alignment_needs_a_sharing():
    with pytest.raises(ValueError, match="align='q' needs a sharing"):
        converted(kvgpt.GPT(CONFIG), None, "q", torch.zeros(1, 2, dtype=torch.int64))


def test_a_loss_that_is_not_finite_stops_training(trained):
    wild = Schedule(steps=30, batch_size=2, learning_rate=1e18, warmup=1)
    with pytest.raises(FloatingPointError, match=r"step \d+: the (loss|gradient's norm) is .*; try a lower .*rate$"):
        trained(wild)


@pytest.mark.parametrize(
    ("part", "given", "message"),
    [
        ("train", ("abcde",), "short: 5 training tokens are fewer"),
        ("train", (), "short: nothing to train on"),
        ("held_out", ("abcde",), "a text of 5 tokens is shorter than one context of 16"),
    ],
)
def test_a_corpus_shorter_than_one_context_is_refused(trained, part, given, message):
    parts = {"train": CORPUS.train, "held_out": CORPUS.held_out, part: given}
    with pytest.raises(ValueError, match=message):
        trained(SHORT, corpus=text.Corpus("short", sha256="", **parts))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, 0) for name in ("steps", "batch_size", "accumulate", "evaluate_every", "evaluate_tokens")),
        *((name, 0) for name in ("checkpoint_every", "log_every", "decay_steps", "learning_rate", "clip")),
        ("learning_rate", math.inf),
        ("warmup", -1),
        ("dtype", "float16"),
    ],
)
def test_a_schedule_that_trains_nothing_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}={value!r}"):
        Schedule(**{field: value})


def test_a_finished_run_leaves_a_model_its_curve_and_no_checkpoints(tmp_path):
    run = Run(tmp_path / "run", SHORT, {"command": "kvgpt train small"})
    result = train(fresh(CONFIG, SHORT), CORPUS, SHORT, run, report=quietly)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["step-000060"]
    run.finish(result.model, result.metadata, result.curve)
    assert not list((tmp_path / "run").glob("step-*"))
    assert read((tmp_path / "run" / "curve.csv").read_text()) == result.curve
    again, ids = kvgpt.GPT.from_pretrained(tmp_path / "run"), torch.arange(97, 110)[None]
    assert torch.equal(again(ids), result.model(ids))
    metadata = checkpoint.read_metadata(tmp_path / "run")
    assert metadata["command"] == "kvgpt train small" and metadata["held_out_loss"] == result.metadata["held_out_loss"]
