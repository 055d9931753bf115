"""Tape: what a CUDA graph does, on any device. It keeps a body's operations and runs them again, the host's part left
out: numbers are those of the recording, tensors are where they were, and what comes out goes to where it came out.
"""

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


class Tape:
    """A recorder that says how often it was asked to ``run`` and to ``record``, and how often a tape was played."""

    def __init__(self):
        self.ran = self.recorded = self.played = 0

    def run(self, body):
        self.ran += 1
        return body()

    def record(self, body):
        self.recorded += 1
        with _Operations() as operations:
            out = body()

        def play():
            self.played += 1
            return out.copy_(operations.again()[id(out)])

        return out, play


class _Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        self.made.append((operation, args, kwargs or {}, out))  # kept: an id is a tensor's own while it lives
        return out

    def again(self):
        """Run them once more -> what stands now for each tensor that came out, by the id of that."""
        now = {}
        for operation, args, kwargs, before in self.made:
            fed, named = tree_map(lambda x: now.get(id(x), x), (args, kwargs))
            after = operation(*fed, **named)
            pairs = zip(before, after, strict=True) if isinstance(before, (tuple, list)) else [(before, after)]
            now.update((id(old), new) for old, new in pairs)
        return now
