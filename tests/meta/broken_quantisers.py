"""Lossy caches that lose more, or something else, than they say."""

import torch
from bugs import planted

from kvgpt.caches.codecs.int4 import Int4
from kvgpt.caches.codecs.int8 import LEVELS, Int8
from kvgpt.caches.int4 import Int4Cache
from kvgpt.caches.int8 import Int8Cache, UnfusedInt8Cache


def quantise(x):
    kept = Int8(x.size(-1)).encode(x)
    return kept["codes"], kept["scales"]


def dequantise(codes, scales, dtype):
    return Int8(codes.size(-1)).decode({"codes": codes, "scales": scales}, dtype)


class Kept(UnfusedInt8Cache):
    def keep(self, layer, here, codes, scales):
        self.parts["codes"][layer][:, :, :, here] = codes
        self.parts["scales"][layer][:, :, :, here] = scales


class Mapped(Kept):
    """Stores what a wrong ``code`` makes of a vector, and says so honestly."""

    def append(self, layer, k, v):
        here = self.claim(layer, k.size(2))
        self.keep(layer, here, *self.code(torch.stack((k, v))))

    def round_trip(self, layer, k, v):
        return dequantise(*self.code(k), k.dtype), dequantise(*self.code(v), v.dtype)


@planted("openvinotoolkit/openvino#28326", "B2-bound")
@planted("pytorch/ao#4713", "B2-bound")
class ZeroRowsDivide(Mapped):
    def code(self, x):
        scale = (x.abs().amax(dim=-1) / LEVELS).to(torch.float16)
        codes = (x / scale.to(x.dtype).unsqueeze(-1)).round().nan_to_num(0).to(torch.int8)
        return codes, torch.where(scale == 0, torch.nan, scale)


@planted("vllm-project/vllm#53086", "B2-bound", "B3-places")
class DropsTheLastOfOddSizes(Mapped):
    """As packing two codes into a byte does when sizes are halved by integer division."""

    def code(self, x):
        codes, scale = quantise(x)
        codes[..., x.size(-1) // 2 * 2 :] = 0
        return codes, scale


@planted("vllm-project/vllm#53086", "B3-places")
class SwapsPairsOfOddSizes(Mapped):
    """As packing does that takes the halves of a byte in another order than unpacking."""

    def code(self, x):
        codes, scale = quantise(x)
        size = x.size(-1)
        if size % 2 and size > 1:
            order = torch.arange(size - 1).view(-1, 2).flip(1).flatten()
            codes = torch.cat((codes[..., order], codes[..., -1:]), dim=-1)
        return codes, scale


@planted("vllm-project/vllm#50084", "B2-bound", "B6-spread")
class SevenBits(Mapped):
    def code(self, x):
        codes, scale = quantise(x)
        return codes // 2 * 2, scale


@planted("InternLM/lmdeploy#4849", "B1-read-is-round-trip")
class StretchesItsRange(Kept):
    """Lanes that are masked take part in the range when it stores, not when it says what it stores."""

    def append(self, layer, k, v):
        here = self.claim(layer, k.size(2))
        codes, scales = quantise(torch.nn.functional.pad(torch.stack((k, v)), (0, 1), value=2.0))
        self.keep(layer, here, codes[..., :-1], scales)


@planted("vllm-project/vllm#50084", "B1-read-is-round-trip", "A1-chunks")
class RawScale(Int8Cache):
    """Codes for a scale that is stored with less precision than they were made with."""

    def append(self, layer, k, v):
        super().append(layer, k, v)
        self.parts["scales"][layer].mul_(1 + 2**-9)


@planted("vllm-project/vllm#50084", "B1-read-is-round-trip")
class ValuesTakeTheKeysScales(UnfusedInt8Cache):
    def append(self, layer, k, v):
        super().append(layer, k, v)
        self.parts["scales"][layer][1] = self.parts["scales"][layer][0]


@planted("huggingface/transformers#48700", "B4-settled", "A7-kept")
class QuantisesAgainAndAgain(UnfusedInt8Cache):
    """Codes everything anew, with one scale for all tokens, whenever a token comes."""

    def append(self, layer, k, v):
        super().append(layer, k, v)
        filled = self.filled(layer)
        codes, scales = self.parts["codes"][layer][:, :, :, :filled], self.parts["scales"][layer][:, :, :, :filled]
        back = dequantise(codes, scales, torch.float32)
        scales[:] = scales.amax(dim=3, keepdim=True)
        codes[:] = (back / scales.float().unsqueeze(-1)).round().to(torch.int8)


@planted("huggingface/transformers#48700", "B5-idempotence")
class RoundsDown(Mapped):
    def code(self, x):
        _, scale = quantise(x)
        return (x / scale.to(x.dtype).unsqueeze(-1)).floor().clamp(-LEVELS, LEVELS).to(torch.int8), scale


@planted("jundot/omlx#2201", "B7-locality")
class OneScaleForAChunk(Mapped):
    def code(self, x):
        scale = (x.abs().amax(dim=(-2, -1), keepdim=True) / LEVELS).clamp(min=2.0**-24).to(torch.float16)
        codes = (x / scale.to(x.dtype)).round().clamp(-LEVELS, LEVELS).to(torch.int8)
        return codes, scale.squeeze(-1).expand(x.shape[:-1])


@planted("InternLM/lmdeploy#4849", "B7-locality")
class UnevenAroundZero(Mapped):
    def code(self, x):
        scale = (x.abs().amax(dim=-1) / 127.5).clamp(min=2.0**-24).to(torch.float16)
        return (x / scale.to(x.dtype).unsqueeze(-1)).round().clamp(-128, 127).to(torch.int8), scale


@planted("huggingface/kernels-community#681", "B8-not-finite")
class NanBecomesZero(Mapped):
    def code(self, x):
        return quantise(x.nan_to_num(0.0, 0.0, 0.0))


@planted("huggingface/transformers#45510", "A4-select")
class SelectForgetsTheScales(UnfusedInt8Cache):
    def select(self, rows):
        scales = self.parts["scales"]
        index = self.rows(rows)
        super().select(rows)
        first = torch.arange(len(index)) % scales[0].size(1)
        self.parts["scales"] = [one[:, first] for one in scales]


@planted("MemTensor/MemOS#2301", "A6-fork")
class ForkSharesItsScales(UnfusedInt8Cache):
    def fork(self):
        twin = super().fork()
        twin.parts["scales"] = self.parts["scales"]
        return twin


@planted("ovg-project/kvcached#424", "D1-bytes-held")
class ForgetsTheScalesBytes(UnfusedInt8Cache):
    @property
    def nbytes(self):
        return sum(codes.nbytes for codes in self.parts["codes"])


@planted("ggml-org/llama.cpp#5652", "A2-crop")
class CropShiftsScales(UnfusedInt8Cache):
    def crop(self, length):
        moved = length < self.length
        super().crop(length)
        if moved and length > 1:
            for scales in self.parts["scales"]:
                scales[:, :, :, :length] = scales[:, :, :, :length].roll(1, dims=3)


class HalvesTheWrongWayRound(Int4):
    def _halves(self, packed):
        return packed >> 4, packed[..., : self.head_dim // 2] & 15


class LeavesAByteOutOfOddSizes(Int4):
    def _packed(self, codes):
        packed = super()._packed(codes)
        packed[..., self.head_dim // 2 :] = 0
        return packed


class ForgetsTheMiddle(Int4):
    def mix(self, weights, kept, *products):
        return super().mix(weights, {**kept, "minima": kept["minima"] * 0}, *products)


@planted("vllm-project/vllm#53086", "B2-bound")
class UnpacksTheHighBitsFirst(Int4Cache):
    keys = values = HalvesTheWrongWayRound


@planted("vllm-project/vllm#53086", "B2-bound")
class PacksOddSizesShort(Int4Cache):
    keys = values = LeavesAByteOutOfOddSizes


@planted("InternLM/lmdeploy#4849", "T1-attention")
class MixesValuesWithoutTheirMinimum(Int4Cache):
    values = ForgetsTheMiddle
    at_once = 0
