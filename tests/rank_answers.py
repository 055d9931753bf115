"""What an engine answers, the same whether it is alone or one of several ranks; as a command, a rank that writes it."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

import kvgpt
from kvgpt import parallel, perplexity
from kvgpt.conformance import strategies
from kvgpt.parallel import Ranks

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=4, n_embd=32, vocab_size=31, block_size=12)  # neither divides the odd ones
SHAPES = {
    "plain": CONFIG,
    "grouped": replace(CONFIG, n_kv_head=2, n_inner=48),
    "rotary": replace(CONFIG, position_embedding="rotary"),
}
CASES = [  # shape, variant, dtype
    *(
        ("plain", variant, "float64")
        for variant in ("v0", "v1", "v2", "v3", "v4", "v3a", "v4a", "int8+cla2+calign", "int4", "window")
    ),
    *(("plain", variant, dtype) for variant in ("v0", "v1", "v3") for dtype in ("float32", "bfloat16")),
    *(("grouped", variant, "float64") for variant in ("v1", "v4a")),
    ("rotary", "v2", "float64"),
]
ROWS, PROMPT = 2, 5
IDS = strategies.ids(ROWS, CONFIG.block_size, 3, CONFIG.vocab_size)
CALIBRATION = strategies.ids(4, CONFIG.block_size, 4, CONFIG.vocab_size)
TEXT = strategies.ids(1, 2 * CONFIG.block_size, 5, CONFIG.vocab_size)[0]


def engine(shape: str, variant: str, dtype: str, ranks: Ranks) -> kvgpt.Engine:
    model = strategies.model(SHAPES[shape], 7, getattr(torch, dtype))
    return kvgpt.Engine(model, variant, batch_size=ROWS, calibration=CALIBRATION, ranks=ranks)


def answers(ranks: Ranks) -> dict[str, torch.Tensor]:
    """``{shape variant dtype what: tensor}``."""
    found = {}
    for case in CASES:
        one = engine(*case, ranks)
        steps = [one.prefill(IDS[:, :PROMPT], every_position=True)]
        steps += [one.decode(IDS[:, place : place + 1]).unsqueeze(1) for place in range(PROMPT, IDS.size(1))]
        windows = perplexity.Windows.cut(TEXT, CONFIG.block_size, CONFIG.block_size)
        modes = {"teacher_forced": perplexity.teacher_forced, "autoregressive": perplexity.autoregressive}
        made = {
            "logits": torch.cat(steps, dim=1),
            "cache_bytes": torch.tensor(one.cache.nbytes),
            "weights_bytes": torch.tensor(one.model.nbytes),
            "greedy": one.generate(IDS[:, :3], max_new_tokens=4),
            "seeded": one.generate(IDS[:, :3], max_new_tokens=4, temperature=1.0, top_p=0.9, seed=5),
            **{mode: score(one, windows).nll for mode, score in modes.items()},
        }
        found |= {" ".join([*case, what]): tensor.contiguous() for what, tensor in made.items()}
    one = engine("plain", "v1", "float64", ranks)
    found["unseeded"] = one.generate(IDS[:, :3], max_new_tokens=9, temperature=2.0)
    return found


def main(folder: str) -> None:
    torch.set_num_threads(1)
    with parallel.join() as ranks:
        save_file(answers(ranks), Path(folder) / f"{ranks.rank}.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
