"""What goes through torch's compiler, as far as it does."""

import torch

from kvgpt.compiling import Compiled


def test_past_the_sizes_that_torch_keeps_of_one_function_it_starts_again(monkeypatch):
    made, real = [], torch.compile

    def counted(function, **options):
        made.append(function)
        return real(function, backend="eager", **options)

    monkeypatch.setattr("torch.compile", counted)
    double = Compiled(lambda x: 2 * x, dynamic=False)
    for size in range(2, 13):
        assert torch.equal(double(torch.ones(size)), torch.full((size,), 2.0))
    assert len(made) == 2 and made[0] is not made[1]
