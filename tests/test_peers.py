"""Peers: other systems answer what our engine answers, refuse what it refuses, and say why they cannot run."""

import subprocess
import sys

import hypothesis
import pytest
import torch

import kvgpt
from kvgpt import costs, peers
from kvgpt.caches.transformers import Fp8
from kvgpt.conformance import oracle, strategies, tolerances, uncached

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=32, vocab_size=31, block_size=12)
MODELS = {dtype: strategies.model(CONFIG, 5, getattr(torch, dtype)) for dtype in ("float32", "float64")}
MODEL = MODELS["float32"]
ROOM = 10
LOSSY = "transformers-quantized"
EXACT = [name for name in peers.PEERS if name != LOSSY]
STREAMING = [name for name in peers.PEERS if name != "transformers-generate"]


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch):
    """torch.compile takes half a minute here: what it is given, and what it makes, have tests of their own."""
    monkeypatch.setattr("shutil.which", lambda name: None)


def built(name, model=MODEL, batch_size=1, max_length=ROOM):
    if name.startswith("transformers"):
        pytest.importorskip("transformers", reason="needs transformers: pip install 'kvgpt[peers]'")
    return peers.build(name, model, batch_size, max_length)


def answers(peer, ids, prompt):
    """Logits (B, ROOM - prompt + 1, V) of every position from the prompt's last one on, one token a step."""
    steps = [peer.prefill(ids[:, :prompt])]
    steps += [peer.decode(ids[:, place : place + 1]) for place in range(prompt, ids.size(1))]
    return torch.stack(steps, dim=1)


@pytest.mark.parametrize("prompt", [1, 4, ROOM])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", EXACT)
def test_logits_are_the_oracles_up_to_the_last_place(name, batch, prompt):
    ids = strategies.ids(batch, ROOM, seed=batch + prompt)
    truth = oracle.logits(MODELS["float64"].state_dict(), ids, CONFIG.n_head)
    out = answers(built(name, MODELS["float64"], batch), ids, prompt)
    assert tolerances.exact(out, truth[:, prompt - 1 :])

    truth = oracle.logits(MODEL.state_dict(), ids, CONFIG.n_head)  # of weights that were rounded
    out = answers(built(name, MODEL, batch), ids, prompt)
    assert out.dtype == torch.float32
    for verdict in tolerances.by_ratio(out, uncached.logits(MODEL, ids), truth[:, prompt - 1 :], truth):
        assert verdict, str(verdict)


def test_a_prompt_in_chunks_goes_on_where_the_cache_stands():
    ids = strategies.ids(2, ROOM, seed=8)
    truth = oracle.logits(MODELS["float64"].state_dict(), ids, CONFIG.n_head)
    for name in EXACT:
        peer = built(name, MODELS["float64"], 2)
        for start, end in ((0, 3), (3, 7), (7, ROOM)):
            assert tolerances.exact(peer.prefill(ids[:, start:end]), truth[:, end - 1]), f"{name}: {start} to {end}"
            assert peer.length == end


@pytest.mark.parametrize("prompt", [1, 4, ROOM])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", EXACT)
def test_greedy_tokens_are_those_of_v1_up_to_the_last_place(name, batch, prompt):
    ids, new = strategies.ids(batch, prompt, seed=prompt), ROOM - prompt + 1
    peer = built(name, MODEL, batch)
    assert torch.equal(
        peer.generate(ids, new), kvgpt.Engine(MODEL, "v1", batch, max_length=ROOM).generate(ids, max_new_tokens=new)
    )
    assert peer.length == ROOM


@pytest.mark.parametrize("name", STREAMING)
def test_a_stream_is_what_is_generated_a_token_at_a_time(name):
    peer, ids = built(name, batch_size=2), strategies.ids(2, 4, seed=3)
    whole, stream = peer.generate(ids, 5), peer.stream(ids, 5)
    assert peer.streams
    for n in range(5):
        assert torch.equal(next(stream), whole[:, 4 + n : 5 + n])
        assert peer.length == 4 + n, "a token was computed before it was asked for"


@pytest.mark.parametrize("prompt", [1, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_quantised_differs_from_our_model_over_the_same_cache_by_rounding_alone(batch, prompt):
    """What fp8 loses is theirs to lose; beyond it nothing is, to within what float64 rounds."""
    model, ids = MODELS["float64"], strategies.ids(batch, ROOM, seed=prompt)
    peer, engine = built(LOSSY, model, batch), kvgpt.Engine(model, Fp8, batch, max_length=ROOM)
    out, expected = answers(peer, ids, prompt), answers(engine, ids, prompt)
    assert tolerances.exact(out, expected)
    lossless = answers(kvgpt.Engine(model, "v1", batch, max_length=ROOM), ids, prompt)
    assert tolerances.exact(out[:, 0], lossless[:, 0]), "the first step attends to what it was given"
    assert not tolerances.exact(out, lossless), "and later ones to what was stored"
    new = ROOM - prompt + 1
    tokens = peer.generate(ids[:, :prompt], new)
    assert torch.equal(tokens, engine.generate(ids[:, :prompt], max_new_tokens=new))
    assert tokens.shape == (batch, ROOM + 1) and 0 <= int(tokens.min()) <= int(tokens.max()) < CONFIG.vocab_size


@pytest.mark.parametrize("name", peers.PEERS)
def test_after_reset_the_same_comes_again(name):
    peer, ids = built(name, batch_size=2), strategies.ids(2, ROOM, seed=1)
    first, tokens = answers(peer, ids, 4), peer.generate(ids[:, :4], 6)
    peer.reset()
    answers(peer, strategies.ids(2, ROOM, seed=2), 3)
    peer.reset()
    assert peer.length == 0
    assert torch.equal(answers(peer, ids, 4), first)
    assert torch.equal(peer.generate(ids[:, :4], 6), tokens)


@pytest.mark.parametrize("name", peers.PEERS)
@pytest.mark.parametrize(
    ("method", "arguments", "why"),
    [
        ("prefill", (torch.zeros(2, ROOM - 2, dtype=torch.int64),), "room for max_length=10"),
        ("generate", (torch.zeros(2, 4, dtype=torch.int64), ROOM - 2), "room for max_length=10"),
        ("generate", (torch.zeros(2, 4, dtype=torch.int64), 0), "max_new_tokens=0"),
        ("decode", (torch.zeros(2, 2, dtype=torch.int64),), "one token a row, found 2"),
        ("prefill", (torch.zeros(3, 2, dtype=torch.int64),), "ids have 3 rows"),
        ("prefill", (torch.zeros(2, 0, dtype=torch.int64),), "T of at least 1"),
        ("prefill", (torch.zeros(2, 2),), "int64"),
        ("prefill", ([[1, 2], [3, 4]],), "int64 tensor of shape .* found list"),
        ("prefill", (torch.tensor([[1, 2], [3, 31]]),), "from 1 to 31: ids go from 0 to 30"),
        ("prefill", (torch.tensor([[1, 2], [3, -1]]),), "from -1 to 3: ids go from 0 to 30"),
    ],
)
def test_what_cannot_be_fed_is_refused_before_anything_is_computed(name, method, arguments, why):
    peer, ids = built(name, batch_size=2), strategies.ids(2, 4, seed=0)
    peer.prefill(ids[:, :3])
    with pytest.raises(ValueError, match=why):
        getattr(peer, method)(*arguments)
    assert peer.length == 3
    again = built(name, batch_size=2)
    again.prefill(ids[:, :3])
    assert torch.equal(peer.decode(ids[:, 3:]), again.decode(ids[:, 3:])), "and what was held is as it was"


@pytest.mark.parametrize("name", STREAMING)
def test_a_stream_refuses_before_its_first_token_is_asked_for(name):
    peer = built(name)
    with pytest.raises(ValueError, match="room for max_length=10"):
        peer.stream(strategies.ids(1, 4, seed=0), ROOM)


@pytest.mark.parametrize(
    ("config", "sizes", "why"),
    [
        ({"n_kv_head": 1}, {}, "n_kv_head=1: a peer computes a plain GPT-2"),
        ({"position_embedding": "rotary"}, {}, "position_embedding='rotary'"),
        ({"sharing": "cla2"}, {}, "sharing='cla2'"),
        ({}, {"max_length": 13}, "max_length=13: the model has learned positions for 1 to 12"),
        ({}, {"max_length": 0}, "max_length=0"),
        ({}, {"batch_size": 0}, "batch_size=0"),
    ],
)
def test_a_model_or_a_size_that_no_peer_takes_is_refused(config, sizes, why):
    model = kvgpt.GPT(kvgpt.GPTConfig(**(vars(CONFIG) | config)))
    for name in peers.PEERS:
        with pytest.raises(ValueError, match=why):
            built(name, model, **sizes)


@pytest.mark.parametrize("name", peers.PEERS)
def test_the_weights_are_ours_and_counted_once(name):
    peer = built(name)
    assert peer.weights_bytes == MODEL.nbytes
    holder = peer.net if name == "gpt-fast" else peer.model
    theirs = {one.data_ptr() for one in holder.parameters()}
    ours = dict(MODEL.named_parameters())
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # theirs are (in, out)
    copied = {one for one in ours if ours[one].data_ptr() not in theirs}
    assert copied == {one for one in ours if name != "gpt-fast" and one.endswith(turned)}


def test_a_cache_holds_the_bytes_of_its_numbers():
    full, held = (costs.cache_bytes(CONFIG, kvgpt.Variant.parse("v1"), 2, length, "float32") for length in (ROOM, 4))
    scales = 2 * CONFIG.n_layer * 4  # one in float32 for a layer's keys and one for its values
    expected = {
        "transformers-dynamic": (0, held),
        "transformers-static": (full + 8 * CONFIG.n_layer, full + 8 * CONFIG.n_layer),  # a layer counts in int64
        "transformers-quantized": (0, held // 4 + scales),
        "transformers-generate": (0, held),
        "gpt-fast": (full, full),
    }
    for name in peers.PEERS:
        peer = built(name, batch_size=2)
        before = peer.cache_bytes
        peer.prefill(strategies.ids(2, 4, seed=0))
        assert (before, peer.cache_bytes) == expected[name], name
        peer.generate(strategies.ids(2, 1, seed=0), 4)
        assert peer.cache_bytes == expected[name][1], name


def test_no_token_ends_what_is_generated():
    """GPT-2's end-of-text token is 50256, which transformers' generate stops at unless told otherwise."""
    config = kvgpt.GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=ROOM)
    state = strategies.model(config, 0, torch.float32).state_dict()
    state["wte.weight"] = torch.nn.functional.normalize(state["wte.weight"])
    state["ln_f.weight"], state["ln_f.bias"] = torch.zeros(8), state["wte.weight"][50256].clone()
    model = kvgpt.GPT(config, seed=None).assign(state, "random:0")
    for name in peers.PEERS:
        tokens = built(name, model).generate(torch.tensor([[7]]), 5)
        assert tokens.tolist() == [[7, *[50256] * 5]], name


def test_generate_hands_over_no_token_before_its_end():
    peer = built("transformers-generate")
    assert not peer.streams
    with pytest.raises(kvgpt.Unsupported, match="all tokens over at once"):
        peer.stream(strategies.ids(1, 4, seed=0), 3)


def test_a_peer_runs_under_its_registered_name():
    for name in peers.PEERS:
        assert peers.absent(name) is None
        assert built(name).canonical.partition("+")[0] == name


def test_names_need_no_torch():
    code = "import sys, kvgpt.peers; assert kvgpt.peers.PEERS and not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_peer_is_refused_with_those_that_are_known():
    for ask in (peers.absent, lambda name: peers.build(name, MODEL)):
        with pytest.raises(ValueError, match=r"unknown peer 'vllm': known: transformers-dynamic, .*, gpt-fast"):
            ask("vllm")


@pytest.mark.parametrize("name", [name for name in peers.PEERS if name.startswith("transformers")])
def test_without_transformers_its_peers_are_absent_and_say_so(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "kvgpt.peers.transformers", raising=False)
    said = f"{name} cannot run here .ModuleNotFoundError: .*transformers.*: pip install 'kvgpt\\[peers\\]'"
    with pytest.raises(ValueError, match=said) as refusal:
        peers.build(name, MODEL)
    assert str(refusal.value) == peers.absent(name)
    assert peers.absent("gpt-fast") is None


@pytest.mark.parametrize("broken", [RuntimeError("operator torchvision::nms does not exist"), OSError("libcudart.so")])
def test_a_package_that_is_broken_is_named_with_its_error(broken, monkeypatch):
    def fail(module):
        raise broken

    monkeypatch.setattr(peers, "import_module", fail)
    assert str(broken) in peers.absent("transformers-static")


def test_an_old_transformers_is_too_old(monkeypatch):
    built("transformers-static")
    monkeypatch.setattr("kvgpt.peers.transformers.transformers.__version__", "4.57.6")
    assert "needs transformers 5 or newer, found 4.57.6" in peers.absent("transformers-static")


def test_without_a_compiler_gpt_fast_runs_eager_and_says_so():
    peer = built("gpt-fast")
    assert peer.canonical == "gpt-fast+eager"
    assert peer.eager.startswith("no compiler ")


def test_what_compiling_lacks_is_named(monkeypatch):
    from kvgpt import compiling

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: path.name == "Python.h")
    assert compiling.uncompilable(torch.device("cpu")) is None
    assert compiling.uncompilable(torch.device("cuda")) == "no triton"
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: False)
    assert compiling.uncompilable(torch.device("cpu")).startswith("no Python.h")


def test_what_is_compiled_is_the_decode_step_as_a_whole_once_for_each_peer(monkeypatch):
    """Captured for real, as one graph of fixed shapes, and run without a compiler: nine peers are more than one code
    object may be compiled for.
    """
    asked, real = [], torch.compile

    def capture(step, **options):
        asked.append(options)
        return real(step, backend="eager", fullgraph=options["fullgraph"], dynamic=options["dynamic"])

    monkeypatch.setattr("kvgpt.peers.gpt_fast.uncompilable", lambda device: None)
    monkeypatch.setattr("torch.compile", capture)
    model = strategies.model(kvgpt.GPTConfig(1, 1, 8, 31, ROOM), 0)
    made = [built("gpt-fast", model, max_length=length) for length in range(2, ROOM + 1)]
    asked_of_inductor = {"triton.cudagraphs": True, "coordinate_descent_tuning": True}
    assert asked == [{"fullgraph": True, "dynamic": False, "options": asked_of_inductor}] * len(made)
    monkeypatch.setattr("torch._dynamo.config.error_on_recompile", True)
    for peer in made:
        assert peer.canonical == "gpt-fast" and peer.eager is None and peer.length == 0
        ids = strategies.ids(1, 1, seed=peer.max_length)
        expected = kvgpt.Engine(model, "v1").generate(ids, max_new_tokens=peer.max_length)
        assert torch.equal(peer.generate(ids, peer.max_length), expected)


def test_logits_outlive_the_next_replay_of_a_graph(monkeypatch):
    """A captured graph writes its answer to one place, over and over."""
    place = torch.empty(1, CONFIG.vocab_size)
    monkeypatch.setattr("kvgpt.peers.gpt_fast.uncompilable", lambda device: None)
    monkeypatch.setattr("torch.compile", lambda step, **_: lambda *given: place.copy_(step(*given)))
    peer, ids = built("gpt-fast"), strategies.ids(1, 2, seed=0)
    first = peer.decode(ids[:, :1])
    kept = first.clone()
    second = peer.decode(ids[:, 1:])
    assert torch.equal(first, kept) and not torch.equal(first, second)


@pytest.mark.skipif(
    hypothesis.settings.get_current_profile_name() != "deep",
    reason="compiles for half a minute: --hypothesis-profile=deep",
)
def test_compiled_for_a_cpu_the_tokens_are_those_of_v1(monkeypatch):
    monkeypatch.undo()
    compiled(MODEL)


@pytest.mark.gpu
def test_compiled_for_a_gpu_the_tokens_are_those_of_v1(monkeypatch):
    monkeypatch.undo()
    compiled(strategies.model(CONFIG, 5, torch.float32).to("cuda"))


def compiled(model):
    peer, ids = built("gpt-fast", model, 3), strategies.ids(3, 1, seed=4)
    assert peer.canonical == "gpt-fast", peer.eager
    expected = kvgpt.Engine(model, "v1", 3).generate(ids, max_new_tokens=ROOM)
    assert torch.equal(peer.generate(ids, ROOM), expected)
    assert torch.equal(peer.generate(ids, ROOM), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("name", EXACT)
def test_tokens_on_a_gpu_are_those_on_the_cpu(name):
    ids = strategies.ids(3, 4, seed=4)
    here = built(name, MODELS["float64"], 3).generate(ids, 6)
    there = built(name, strategies.model(CONFIG, 5).to("cuda"), 3).generate(ids, 6)
    assert torch.equal(here, there.cpu())
