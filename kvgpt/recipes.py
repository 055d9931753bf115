"""Variants by name: the frozen recipe of a cache, its storages and aliases, and the look of each in every figure.

No torch here: names are checked, sized and drawn on machines that have none.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from kvgpt.config import ALIGNMENTS, sharing_group


@dataclass(frozen=True)
class Width:
    """The bits kept of each number (None: those of the model's dtype), and what scales it takes beside them.

    Floating-point operations of the plain codec: ``encoding`` of each number that is written, and ``scaling`` of its
    vector; ``decoding`` of each number that is read back.
    """

    bits: int | None = None
    scale_bits: int = 0  # for each (token, head)
    encoding: int = 0
    scaling: int = 0
    decoding: int = 0

    @property
    def packed(self) -> bool:
        """Whether several numbers share a byte."""
        return self.bits is not None and 0 < self.bits < 8


DENSE = Width()
CODES8 = Width(8, scale_bits=16, encoding=4, scaling=4, decoding=1)
FLOATS8 = Width(8, scale_bits=16, encoding=4, scaling=4, decoding=2)
CODES4 = Width(4, scale_bits=32, encoding=6, scaling=12, decoding=2)


@dataclass(frozen=True)
class Storage:
    """Where a storage's class lives, and how wide it keeps K and V."""

    path: str
    keys: Width
    values: Width


STORAGES = {
    "none": Storage("kvgpt.caches.none:NoCache", Width(0), Width(0)),
    "dense": Storage("kvgpt.caches.dense:DenseCache", DENSE, DENSE),
    "dense-cat": Storage("kvgpt.caches.dense_cat:DenseCatCache", DENSE, DENSE),
    "int8": Storage("kvgpt.caches.int8:Int8Cache", CODES8, CODES8),
    "int8-unfused": Storage("kvgpt.caches.int8:UnfusedInt8Cache", CODES8, CODES8),
    "int4": Storage("kvgpt.caches.int4:Int4Cache", CODES4, CODES4),
    "k8v4": Storage("kvgpt.caches.k8v4:K8V4Cache", CODES8, CODES4),
    "fp8": Storage("kvgpt.caches.fp8:Fp8Cache", FLOATS8, FLOATS8),
}
ATTENTION_PATHS = ("sdpa", "matmul")


@dataclass(frozen=True)
class Variant:
    """How a cache keeps its vectors, which layers share them, how followers were aligned, how attention is computed.

    ``storage`` is a name of :data:`~kvgpt.recipes.STORAGES`; ``sharing`` None or ``cla<k>``; ``align`` None, ``qalign``
    or ``calign``, which need a sharing; ``window`` keeps the last tokens only, as many as the engine's ``max_length``,
    and ``sinks`` of the first among them; ``attention`` is a name of :data:`~kvgpt.recipes.ATTENTION_PATHS`. ValueError
    where a part is unknown, or needs another that is not there.
    """

    storage: str = "dense"
    sharing: str | None = None
    align: str | None = None
    window: bool = False
    sinks: int = 0
    attention: str = "sdpa"

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise ValueError(f"unknown storage {self.storage!r}: known: {', '.join(STORAGES)}")
        sharing_group(self.sharing)
        if self.align not in (None, *ALIGNMENTS):
            raise ValueError(f"unknown alignment {self.align!r}: known: {', '.join(ALIGNMENTS)}")
        if self.align is not None and self.sharing is None:
            raise ValueError(f"alignment {self.align!r} needs a sharing, such as cla2")
        if self.window and self.recomputes:
            raise ValueError(f"storage {self.storage!r} keeps nothing that a window could be laid over: name another")
        if self.sinks < 0 or (self.sinks and not self.window):
            raise ValueError(f"sinks={self.sinks}: a number of first tokens that a window keeps; add 'window' for any")
        if self.attention not in ATTENTION_PATHS:
            raise ValueError(f"unknown attention path {self.attention!r}: known: {', '.join(ATTENTION_PATHS)}")

    @property
    def recomputes(self) -> bool:
        """Whether nothing is kept between steps, so that each computes the whole history again."""
        return STORAGES[self.storage].keys.bits == 0

    @property
    def canonical(self) -> str:
        """The parts joined with ``+`` in their fixed order; what is usual goes unsaid."""
        window, sinks = "window" if self.window else None, f"sinks{self.sinks}" if self.sinks else None
        path = None if self.attention == "sdpa" else self.attention
        return "+".join(part for part in (self.storage, self.sharing, self.align, window, sinks, path) if part)

    @property
    def name(self) -> str:
        """The alias where there is one, else the canonical name: what every table and figure prints."""
        return next((alias for alias, canonical in ALIASES.items() if canonical == self.canonical), self.canonical)

    @classmethod
    def parse(cls, name: str) -> "Variant":
        """A variant from its alias or its parts in any order; ValueError lists what is known."""
        fields: dict[str, Any] = {}
        for part in ALIASES.get(name, name).split("+"):
            found = _field(part)
            if found is None:
                raise ValueError(
                    f"unknown variant {name!r} (at {part!r}): known: {', '.join(ALIASES)}, or parts joined with '+': "
                    f"{', '.join(STORAGES)}; cla2, cla3, ...; {', '.join(ALIGNMENTS)}; window; sinks1, sinks2, ...; "
                    f"{', '.join(ATTENTION_PATHS)}"
                )
            field, value = found
            if field in fields:
                raise ValueError(f"variant {name!r} has two parts for its {field}: {fields[field]!r} and {value!r}")
            fields[field] = value
        return cls(**fields)


ALIASES = {
    "v0": "none",
    "v1": "dense",
    "v2": "int8",
    "v3": "dense+cla2",
    "v4": "int8+cla2",
    "v3a": "dense+cla2+qalign",
    "v4a": "int8+cla2+qalign",
}
REFERENCE = "v1"  # what quality and speed are compared with


def variants() -> dict[str, Variant]:
    """Every named variant: the aliases, then the storages that have none."""
    named = {alias: Variant.parse(alias) for alias in ALIASES}
    others = {storage: Variant(storage) for storage in STORAGES if Variant(storage) not in named.values()}
    parts = ("dense+cla2+calign", "int8+cla2+calign", "dense+window", "int8+window", "dense+matmul")
    return named | others | {name: Variant.parse(name) for name in parts}


def _field(part: str) -> tuple[str, Any] | None:
    """The field of a Variant that a part of its name sets, and to what."""
    names: dict[str, Collection[str]] = {"storage": STORAGES, "align": ALIGNMENTS, "attention": ATTENTION_PATHS}
    for field, known in names.items():
        if part in known:
            return field, part
    if part == "window":
        return "window", True
    if sinks := re.fullmatch(r"sinks([1-9][0-9]{0,8})", part):
        return "sinks", int(sinks[1])
    try:
        sharing_group(part)
    except ValueError:
        return None
    return "sharing", part


LONG_DASHES, DASH_DOT_DOT, DASH_DASH_DOT = (0, (7, 2)), (0, (5, 1, 1, 1, 1, 1)), (0, (5, 1, 5, 1, 1, 1))


@dataclass(frozen=True)
class Style:
    """One look for each variant in every figure: told apart by marker and line where colour is not seen."""

    colour: str
    marker: str | tuple[int, int, int]  # Matplotlib's; a tuple is a star of so many points: (points, 1, degrees)
    line: str | tuple[int, tuple[int, ...]] = "-"


# No two share a marker or a colour. The colours of one kind of line are told apart by eyes that lack a cone, too, on
# white and, lightened, on black. v0 to v4a have those of the original research, but for v2, whose orange, #F4A261, has
# a contrast of 2.1 to white.
STYLES = {
    "v0": Style("#E63946", "o"),
    "v1": Style("#2A9D8F", "s"),
    "v2": Style("#D9772B", "^", "--"),
    "v3": Style("#6A4C93", "D"),
    "v4": Style("#264653", "p", "--"),
    "v3a": Style("#8E7CC3", "v", ":"),
    "v4a": Style("#1B6A73", "*", "-."),
    "dense+cla2+calign": Style("#5F29CC", (4, 1, 0), ":"),
    "int8+cla2+calign": Style("#CC7AA3", (6, 1, 0), "-."),
    "dense-cat": Style("#8F8F1B", "P", "-."),
    "int8-unfused": Style("#1F8CF9", "X", "--"),
    "int4": Style("#AA0E0E", "d", DASH_DASH_DOT),
    "k8v4": Style("#136AEC", "8", DASH_DASH_DOT),
    "fp8": Style("#AC8853", "H", DASH_DASH_DOT),
    "dense+window": Style("#E8501F", "<", ":"),
    "int8+window": Style("#D61BD6", ">", "-."),
    "dense+matmul": Style("#6B0F24", "h", ":"),
    "transformers-dynamic": Style("#AE0404", "x", LONG_DASHES),  # peers: crosses and forks
    "transformers-static": Style("#561FF9", "+", LONG_DASHES),
    "transformers-quantized": Style("#229BC3", "1", LONG_DASHES),
    "transformers-generate": Style("#5C235C", "2", LONG_DASHES),
    "gpt-fast": Style("#9A8F12", "3", LONG_DASHES),
}
OTHERS = (  # for names without a style of their own, in the order in which they come
    Style("#333333", "4", DASH_DOT_DOT),
    Style("#1E8CF9", "|", DASH_DOT_DOT),
    Style("#F91FC3", "_", DASH_DOT_DOT),
)


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A look for each of these names: its own, or the next of :data:`OTHERS`."""
    names = list(dict.fromkeys(names))
    strangers = [name for name in names if name not in STYLES]
    return {name: STYLES.get(name) or OTHERS[strangers.index(name) % len(OTHERS)] for name in names}
