"""Cases that several files have: what is alike counts once, and what differs is refused or the first of it counts."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvgpt.report.merging.worker import Entry, Worker, made_by

SHOWN = 3  # repeated cases, in the message that refuses them


@dataclass(frozen=True)
class Kept:
    """An entry, and the file that it is from."""

    entry: Entry
    path: Path


@dataclass(frozen=True)
class Repeat:
    """A case that is there again, and differs."""

    first: Kept
    again: Kept

    def __str__(self) -> str:
        names = [one.entry["fullname"] for one in (self.first, self.again)]
        named = f"{names[0]!r}" if names[0] == names[1] else f"{names[0]!r}, again as {names[1]!r},"
        return f"{named} in {self.first.path} and {self.again.path}{self._other_workload()}"

    def _other_workload(self) -> str:
        """Where one name is that of two cases, what tells them apart."""
        made = [made_by(one.entry) for one in (self.first, self.again)]
        one, other = [{} if found is None else found["workload"] for found in made]
        fields = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
        return f" (with another {', '.join(fields)})" if fields else ""


def once(workers: Sequence[Worker], allowed: bool) -> tuple[list[Entry], list[str]]:
    """Every case once, in the order of the files, and remarks; ValueError names what is there twice and differs."""
    kept: dict[Hashable, Kept] = {}
    entries, alike, repeats = list[Entry](), Counter[Path](), list[Repeat]()
    for worker in workers:
        for entry in worker.entries:
            mine, identities = Kept(entry, worker.path), list(_identities(entry))
            first = next((kept[one] for one in identities if one in kept), None)
            if first is None:
                kept |= dict.fromkeys(identities, mine)
                entries.append(entry)
            elif first.entry == entry:
                alike[worker.path] += 1
            else:
                repeats.append(Repeat(first, mine))
    if repeats and not allowed:
        others = f"; and {len(repeats) - SHOWN} more" if len(repeats) > SHOWN else ""
        raise ValueError(
            f"{len(repeats)} cases are there twice and differ: {'; '.join(map(str, repeats[:SHOWN]))}{others}: leave "
            "one of the files out, or say --allow repeats, with which the first counts"
        )
    remarks = [
        f"{path}: {count} cases are there already, alike: counted once" for path, count in alike.items() if count
    ]
    return entries, [*remarks, *(f"{repeat}: the first counts" for repeat in repeats)]


def _identities(entry: Entry) -> Iterator[Hashable]:
    """What two entries of one case have in common: the name, or all that a record says of what was measured."""
    yield entry["fullname"]
    made = made_by(entry)
    if made is not None:
        yield made["family"], made["variant"], frozenset(made["workload"].items())
