"""Exact caches that are not."""

import itertools

import torch
from bugs import planted
from sound import Graphable, Listed, Sliding

import kvgpt
from kvgpt.attention import matmul, sdpa
from kvgpt.caches.dense import DenseCache
from kvgpt.caches.dense_cat import DenseCatCache


@planted("TrenTorch/TrenTorch#192", "A1-chunks")
class SkipsPositionZero(DenseCache):
    def append(self, layer, k, v):
        super().append(layer, k, v)
        if self.length == 0:
            self.k[layer][:, :, 0] = 0


@planted("ml-explore/mlx-lm#390", "A1-chunks")
class HidesTheNewest(DenseCache):
    def read(self, layer):
        k, v = super().read(layer)
        return (k[:, :, :-1], v[:, :, :-1]) if k.size(2) > 1 else (k, v)


@planted("sgl-project/sglang#22819", "A1-chunks")
class WrongAtABlocksEdge(DenseCache):
    def append(self, layer, k, v):
        super().append(layer, k, v)
        if k.size(2) == 4:
            self.v[layer][:, :, self.length + 3] = self.v[layer][:, :, self.length]


@planted("pytorch/pytorch#108108", "A1-chunks", "T1-attention")
class UpperLeftMask(DenseCache):
    def attend(self, layer, q, k=None, v=None):
        self.attention = upper_left
        return super().attend(layer, q, k, v)


def upper_left(q, k, v, mask):
    groups = q.size(1) // k.size(1)
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=q.size(2) > 1)


@planted("Mikyx-1/TinyLLM#17", "A12-causality")
class NoMaskInPrefill(DenseCache):
    def attend(self, layer, q, k=None, v=None):
        self.attention = lambda q, k, v, _: sdpa(q, k, v, torch.ones(q.size(2), k.size(2), dtype=torch.bool))
        return super().attend(layer, q, k, v)


@planted("jundot/omlx#2201", "A3-rows-alone")
class LeaksBetweenRows(DenseCache):
    def append(self, layer, k, v):
        super().append(layer, k[:1].expand_as(k), v)


@planted("equivalence sees the position only: huggingface/transformers#36151", "A1-chunks", "A8-overflow")
class UnderCounts(DenseCache):
    """Reads and places everything right, and says that it has seen one token fewer in each step of many."""

    def __init__(self, shape):
        super().__init__(shape)
        self.truth = 0

    def append(self, layer, k, v):
        here = slice(self.truth, self.truth + k.size(2))
        self.k[layer][:, :, here], self.v[layer][:, :, here] = k, v
        self.claim(layer, k.size(2))
        self.ends = here.stop

    def read(self, layer):
        ends = self.ends if self.filled(layer) > self.length else self.truth
        return self.k[layer][:, :, :ends], self.v[layer][:, :, :ends]

    def advance(self, n):
        super().advance(n)
        self.truth += n
        if n > 1:
            self.length -= 1
            self._filled = [self.length] * self.shape.n_layer

    def _rewind(self, length):
        super()._rewind(length)
        self.truth = length


@planted("meta-pytorch/gpt-fast#233", "A10-poison", "T1-attention")
class AttendsToTheWholeBuffer(DenseCache):
    def __init__(self, shape):
        super().__init__(shape)
        for tensor in self.k + self.v:
            tensor.zero_()

    def attend(self, layer, q, k=None, v=None):
        right = super().attend(layer, q, k, v)
        return right if q.size(2) > 1 else self.attention(q, self.k[layer], self.v[layer], None)


@planted("Dao-AILab/flash-attention#1745", "A10-poison")
@planted("deepbeepmeep/Wan2GP#1628", "A10-poison")
class NanFromUnusedSlots(DenseCache):
    def __init__(self, shape):
        super().__init__(shape)
        for tensor in self.k + self.v:
            tensor.zero_()

    def attend(self, layer, q, k=None, v=None):
        super().attend(layer, q, k, v)
        S = self.shape.max_length
        first = self.filled(layer) - q.size(2)
        seen = torch.arange(S) <= first + torch.arange(q.size(2)).unsqueeze(1)
        return matmul(q, self.k[layer], self.v[layer], seen)


@planted("Lightning-AI/litgpt#1596", "A5-reset")
class ResetDoesNothing(DenseCache):
    def reset(self):
        pass


@planted("Lightning-AI/litgpt#2310", "A5-reset")
class StaleAfterReset(DenseCatCache):
    def reset(self):
        kept = self.k, self.v
        super().reset()
        self.k, self.v = kept


@planted("huggingface/transformers#47720", "A2-crop")
class CropRemoves(DenseCatCache):
    def crop(self, length):
        super().crop(self.length - length)


@planted("huggingface/transformers#30312", "A2-crop")
class CropOfNothingEmpties(DenseCatCache):
    def crop(self, length):
        gone = self.length - length
        kept = [k[:, :, :-gone] for k in self.k], [v[:, :, :-gone] for v in self.v]
        super().crop(length)
        self.k, self.v = kept


@planted("ml-explore/mlx-lm#93", "A2-crop")
class CropLeavesThePosition(DenseCache):
    def crop(self, length):
        position = self.position.clone()
        super().crop(length)
        self.position.copy_(position)


@planted("ggml-org/llama.cpp#12253", "I1-life")
class GarbageAfterTheThirdMove(DenseCache):
    """Right until it has been cropped twice."""

    moves = 0

    def crop(self, length):
        super().crop(length)
        self.moves += 1
        if self.moves > 1 and length > 1:
            self.k[0][:, :, 0] = self.k[0][:, :, 1]


@planted("huggingface/transformers#45510", "A4-select")
class SelectForgetsValues(DenseCache):
    def select(self, rows):
        values = self.v
        index = self.rows(rows)
        super().select(rows)
        self.v = [v[: len(index)] if len(v) >= len(index) else v[index] for v in values]


@planted("huggingface/transformers#46612", "A4-select")
class SelectIsSkippedForAsManyRows(DenseCache):
    def select(self, rows):
        if len(rows) != self.shape.batch_size:
            super().select(rows)


@planted("huggingface/transformers#46612", "A17-honesty")
class SelectPassesInSilence(Listed):
    def select(self, rows):
        pass


@planted("huggingface/transformers#46612", "A17-honesty")
class ForkIsOverriddenAndUnsupported(DenseCache):
    def fork(self):
        raise kvgpt.Unsupported("not now")


@planted("MemTensor/MemOS#2301", "A6-fork", "D1-bytes-held")
class ForkSharesItsMemory(DenseCache):
    def fork(self):
        twin = super().fork()
        twin.k, twin.v = self.k, self.v
        return twin


@planted("karpathy/nanochat#186", "A7-kept")
class GrowsByResize(DenseCatCache):
    def append(self, layer, k, v):
        B, H, S, D = self.k[layer].shape
        self.claim(layer, k.size(2))
        for tensors, new in ((self.k, k), (self.v, v)):
            tensors[layer].resize_(B, H, S + k.size(2), D)  # the old numbers keep their places in memory, not in rows
            tensors[layer][:, :, S:] = new


@planted("Dao-AILab/flash-attention#2709", "A8-overflow")
class WrapsAround(DenseCache):
    def check(self, layer, q, k, v):
        if self.length + q.size(2) <= self.shape.max_length:
            super().check(layer, q, k, v)

    def append(self, layer, k, v):
        places = torch.arange(self.length, self.length + k.size(2)) % self.shape.max_length
        self.claim(layer, k.size(2))
        self.k[layer][:, :, places], self.v[layer][:, :, places] = k, v


@planted("huggingface/transformers#530", "A8-overflow")
class WritesAndThenRefuses(DenseCache):
    def check(self, layer, q, k, v):
        if k is not None and self.length + k.size(2) > self.shape.max_length:
            self.k[layer][:, :, -1] = k[:, :, 0]
        super().check(layer, q, k, v)


@planted("minimaxir/gpt-2-simple#72", "A8-overflow")
class RefusesWithoutNumbers(DenseCache):
    def check(self, layer, q, k, v):
        if k is not None and self.length + k.size(2) > self.shape.max_length:
            raise ValueError("too long")
        super().check(layer, q, k, v)


@planted("ml-explore/mlx-lm#390", "A9-window")
class OffByOneWindow(Sliding):
    """Its mask is one narrower than what it keeps."""

    def attend(self, layer, q, k=None, v=None):
        self.attention = self.narrow
        return super().attend(layer, q, k, v)

    def narrow(self, q, k, v, mask):
        oldest = mask & (mask.cumsum(dim=1) == self.sinks + 1) & (mask.sum(dim=1, keepdim=True) == self.window)
        return sdpa(q, k, v, mask & ~oldest if self.window - self.sinks > 1 else mask)


@planted("huggingface/transformers#37574", "A9-window")
class WrongWhenTheWindowIsJustFull(Sliding):
    def slide(self, held, new):
        kept = super().slide(held, new)
        if held.size(2) + new.size(2) == self.window > self.sinks + 1:
            kept = torch.cat((kept[:, :, :-1], kept[:, :, -2:-1]), dim=2)
        return kept


@planted("huggingface/transformers#35350", "A9-window")
class LosesItsSinks(Sliding):
    def slide(self, held, new):
        return torch.cat((held, new), dim=2)[:, :, -self.window :]


@planted("mit-han-lab/streaming-llm#93", "A12-causality")
class ReachesPastItsWindow(Sliding):
    """Adds what it has let go to what it keeps."""

    def slide(self, held, new):
        every = torch.cat((held, new), dim=2)
        kept = super().slide(held, new)
        gone = every.size(2) - kept.size(2)
        if gone:
            kept = kept.clone()
            kept[:, :, -1] += every[:, :, self.sinks : self.sinks + gone].sum(dim=2)
        return kept


@planted("infinigence/ApxInf#89", "A14-graph")
class ReallocatesOnReset(Graphable):
    def reset(self):
        super().reset()
        self.k = [k.clone() for k in self.k]


@planted("huggingface/transformers#30312", "A14-graph")
class CropsIntoNewTensors(Graphable):
    def crop(self, length):
        super().crop(length)
        self.v = [v.clone() for v in self.v]


@planted("flashinfer-ai/flashinfer#4553", "A14-graph")
class ReadsTheHostsLength(DenseCache):
    graphable = True


@planted("ml-explore/mlx-lm#1699", "A15-ownership")
class ScalesTheCallersQuery(DenseCache):
    def attend(self, layer, q, k=None, v=None):
        out = super().attend(layer, q, k, v)
        q.mul_(0.5)
        return out


@planted("MemTensor/MemOS#2301", "A15-ownership")
class KeepsTheCallersTensors(Listed):
    def append(self, layer, k, v):
        self.stored[layer].append((k, v))


@planted("huggingface/transformers#21080", "A16-contract")
class BroadcastsAnotherBatch(DenseCache):
    def check(self, layer, q, k, v):
        if q.size(0) == self.shape.batch_size:
            super().check(layer, q, k, v)


@planted("huggingface/transformers#25420", "A16-contract")
class CastsAnotherDtype(DenseCache):
    def attend(self, layer, q, k=None, v=None):
        if k is not None and v is not None and k.device == v.device == q.device:
            k, v = k.to(q.dtype), v.to(q.dtype)
        return super().attend(layer, q, k, v)


@planted("vllm-project/vllm#50084", "A11-layout")
class TrustsStrides(DenseCache):
    def append(self, layer, k, v):
        flat = k.as_strided(k.shape, k.new_empty(k.shape).stride())
        super().append(layer, flat, v)


@planted("huggingface/transformers#36536", "T1-attention", dtype="float32")
class AttendsInBfloat16(DenseCache):
    def attend(self, layer, q, k=None, v=None):
        self.attention = lambda q, k, v, mask: sdpa(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask).to(q.dtype)
        return super().attend(layer, q, k, v)


@planted("vllm-project/vllm#53086", "T2-repeats")
class FlakyInTheLastBit(DenseCache):
    calls = itertools.count()

    def append(self, layer, k, v):
        super().append(layer, k, v * (1 + next(self.calls) * 2.0**-50))


@planted("vllm-project/vllm#50702", "I1-life")
class CorruptsWhenFullToTheLast(DenseCache):
    def append(self, layer, k, v):
        super().append(layer, k, v)
        if self.filled(layer) == self.shape.max_length and self.length:
            self.k[layer][:, :, 0] = self.k[layer][:, :, -1]


@planted("vllm-project/vllm-ascend#11791", "C5-followers-only-read")
class FollowersOverwrite(DenseCache):
    def attend(self, layer, q, k=None, v=None):
        out = super().attend(layer, q, k, v)
        if k is None:
            self.k[layer][:, :, self.length : self.filled(layer)] = q[:, : self.shape.n_head]
        return out


@planted("Alberto-Codes/turboquant-vllm#79", "C1-slots-apart")
class OneBufferForAllLayers(DenseCache):
    def __init__(self, shape):
        super().__init__(shape)
        self.k = [self.k[0]] * shape.n_layer


@planted("TrenTorch/TrenTorch#192", "D1-bytes-held")
class CountsTwice(DenseCache):
    @property
    def nbytes(self):
        return 2 * super().nbytes


@planted("huggingface/transformers#30312", "D1-bytes-held")
class CountsWhatItShows(DenseCatCache):
    """Crops by slicing: the bytes stay, the count goes down."""

    def crop(self, length):
        kept = [k[:, :, :length] for k in self.k], [v[:, :, :length] for v in self.v]
        super().crop(length)
        self.k, self.v = kept


@planted("tanishqkumar/ssd#23", "H1-save-and-load")
class RestoresOtherRows(DenseCache):
    def restore(self, state, length):
        super().restore({name: tensor.roll(1, dims=0) for name, tensor in state.items()}, length)


@planted("tanishqkumar/ssd#23", "H1-save-and-load")
class SavesKeysAlone(DenseCache):
    def state(self):
        return {name: tensor for name, tensor in super().state().items() if name.startswith("k")}
