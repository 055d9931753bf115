"""What makers state of their GPUs: bytes of memory, bytes a second, operations a second by dtype.

Rates are those of dense products: sheets that print twice as much with sparsity are halved. Of 16 bits they are those
that add up in float32, as training and inference do; of float32 those without TF32, as torch multiplies unless asked
otherwise. A gigabyte is 10^9 bytes, as printed: a driver often shows a few percent more, and keeps some for itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    """``memory`` in bytes, ``bandwidth`` in bytes a second, ``flops`` a second by the dtype of what is multiplied."""

    name: str
    memory: float
    bandwidth: float
    flops: Mapping[str, float]
    source: str

    def rate(self, dtype: str) -> float:
        """Operations a second; ValueError where the sheet states none for this dtype."""
        if dtype not in self.flops:
            raise ValueError(
                f"{self.name}: its sheet has no rate for products of {dtype}, only for {', '.join(self.flops)}: "
                "choose one of them, or state the rate"
            )
        return self.flops[dtype]


def _sheet(
    name: str, gigabytes: float, gigabytes_a_second: float, half: float, single: float, source: str, old: bool = False
) -> Sheet:
    """``half`` and ``single`` in TFLOP/s, of 16 bits and of float32. The products of ``old`` ones know no bfloat16."""
    rates = {"bfloat16": half, "float16": half, "float32": single}
    flops = {dtype: rate * 1e12 for dtype, rate in rates.items() if not (old and dtype == "bfloat16")}
    return Sheet(name, gigabytes * 1e9, gigabytes_a_second * 1e9, flops, source)


_GA100 = "NVIDIA A100 Tensor Core GPU data sheet"
_H100 = "NVIDIA H100 Tensor Core GPU data sheet"
SHEETS = {
    "v100": _sheet("V100 SXM2 32GB", 32, 900, 125, 15.7, "NVIDIA V100 Tensor Core GPU data sheet", old=True),
    "t4": _sheet("T4", 16, 320, 65, 8.1, "NVIDIA T4 Tensor Core GPU data sheet", old=True),
    "a100-40gb": _sheet("A100 40GB", 40, 1555, 312, 19.5, _GA100),
    "a100-80gb": _sheet("A100 SXM 80GB", 80, 2039, 312, 19.5, _GA100),
    "a100-80gb-pcie": _sheet("A100 PCIe 80GB", 80, 1935, 312, 19.5, _GA100),
    "a10": _sheet("A10", 24, 600, 125, 31.2, "NVIDIA A10 Tensor Core GPU data sheet"),
    "a40": _sheet("A40", 48, 696, 149.7, 37.4, "NVIDIA A40 data sheet"),
    "a6000": _sheet("RTX A6000", 48, 768, 154.8, 38.7, "NVIDIA Ampere GA102 whitepaper, appendix A"),
    "l4": _sheet("L4", 24, 300, 121, 30.3, "NVIDIA L4 Tensor Core GPU data sheet"),
    "l40s": _sheet("L40S", 48, 864, 362.05, 91.6, "NVIDIA L40S data sheet"),
    "h100": _sheet("H100 SXM", 80, 3350, 989.5, 67, _H100),
    "h100-pcie": _sheet("H100 PCIe", 80, 2000, 756.5, 51, _H100),
    "h100-nvl": _sheet("H100 NVL", 94, 3900, 835.5, 60, _H100),
    "h200": _sheet("H200 SXM", 141, 4800, 989.5, 67, "NVIDIA H200 Tensor Core GPU data sheet"),
    "b200": _sheet("B200, of an HGX board", 180, 7700, 2250, 75, "NVIDIA HGX platform specifications"),
    "rtx3090": _sheet("GeForce RTX 3090", 24, 936, 71, 35.6, "NVIDIA Ampere GA102 whitepaper, table 2"),
    "rtx4090": _sheet("GeForce RTX 4090", 24, 1008, 165.2, 82.6, "NVIDIA Ada whitepaper, appendix A"),
    "rtx5090": _sheet("GeForce RTX 5090", 32, 1792, 209.5, 104.8, "NVIDIA RTX Blackwell whitepaper, appendix A"),
    "mi300x": _sheet("Instinct MI300X", 192, 5300, 1307.4, 163.4, "AMD Instinct MI300X data sheet"),
}


def sheet(name: str) -> Sheet:
    """A known GPU by its name in :data:`SHEETS`, in any case; ValueError lists them."""
    found = SHEETS.get(name.lower())
    if found is None:
        raise ValueError(
            f"unknown GPU {name!r}: known: {', '.join(SHEETS)}; of any other state its memory, bandwidth and rate"
        )
    return found
