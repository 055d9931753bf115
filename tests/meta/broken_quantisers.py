"""Lossy caches that lose more, or something else, than they say."""

import torch
from bugs import planted

from kvgpt.caches.int8 import LEVELS, Int8Cache, UnfusedInt8Cache, dequantise, quantise


class Mapped(UnfusedInt8Cache):
    """Stores what a wrong ``code`` makes of a vector, and says so honestly."""

    def append(self, layer, k, v):
        here = self.claim(layer, k.size(2))
        self.codes[layer][:, :, :, here], self.scales[layer][:, :, :, here] = self.code(torch.stack((k, v)))

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
class StretchesItsRange(UnfusedInt8Cache):
    """Lanes that are masked take part in the range when it stores, not when it says what it stores."""

    def append(self, layer, k, v):
        here = self.claim(layer, k.size(2))
        codes, scales = quantise(torch.nn.functional.pad(torch.stack((k, v)), (0, 1), value=2.0))
        self.codes[layer][:, :, :, here], self.scales[layer][:, :, :, here] = codes[..., :-1], scales


@planted("vllm-project/vllm#50084", "B1-read-is-round-trip", "A1-chunks")
class RawScale(Int8Cache):
    """Codes for a scale that is stored with less precision than they were made with."""

    def append(self, layer, k, v):
        super().append(layer, k, v)
        self.scales[layer].mul_(1 + 2**-9)


@planted("vllm-project/vllm#50084", "B1-read-is-round-trip")
class ValuesTakeTheKeysScales(UnfusedInt8Cache):
    def append(self, layer, k, v):
        super().append(layer, k, v)
        self.scales[layer][1] = self.scales[layer][0]


@planted("huggingface/transformers#48700", "B4-settled", "A7-kept")
class QuantisesAgainAndAgain(UnfusedInt8Cache):
    """Codes everything anew, with one scale for all tokens, whenever a token comes."""

    def append(self, layer, k, v):
        super().append(layer, k, v)
        filled = self.filled(layer)
        codes, scales = self.codes[layer][:, :, :, :filled], self.scales[layer][:, :, :, :filled]
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
        scales = self.scales
        index = self.rows(rows)
        super().select(rows)
        first = torch.arange(len(index)) % scales[0].size(1)
        self.scales = [one[:, first] for one in scales]


@planted("MemTensor/MemOS#2301", "A6-fork")
class ForkSharesItsScales(UnfusedInt8Cache):
    def fork(self):
        twin = super().fork()
        twin.scales = self.scales
        return twin


@planted("ovg-project/kvcached#424", "D1-bytes-held")
class ForgetsTheScalesBytes(UnfusedInt8Cache):
    @property
    def nbytes(self):
        return sum(codes.nbytes for codes in self.codes)


@planted("ggml-org/llama.cpp#5652", "A2-crop")
class CropShiftsScales(UnfusedInt8Cache):
    def crop(self, length):
        moved = length < self.length
        super().crop(length)
        if moved and length > 1:
            for scales in self.scales:
                scales[:, :, :, :length] = scales[:, :, :, :length].roll(1, dims=3)
