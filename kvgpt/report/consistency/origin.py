"""Rules of origin: each case is there once, and what is compared was measured on one device."""

from collections.abc import Iterator

from kvgpt.recorded import Case, Results
from kvgpt.report.consistency.finding import Finding, judged

MACHINE = ("device", "device_name")  # fields of a workload
ROOFS = ("read_bandwidth", "copy_bandwidth", "matmul_rate")
HELD_TO_A_ROOF = ("floor", "time_to_first_token_floor", "fraction_of_floor", "fraction_of_bandwidth")


def each_case_is_there_once(results: Results) -> Iterator[Finding]:
    """No two records have one family, variant and workload."""
    for several in _alike(results, leaving_out=()):
        first = several[0]
        sentence = f"{len(several)} records of {first.family}, {first.variant} and the same workload"
        yield judged(len(several) == 1, sentence, *several)


def each_case_has_one_device(results: Results) -> Iterator[Finding]:
    """A case is of the results' device, and of no other beside it."""
    own = {"device": results.device.get("kind"), "device_name": results.device.get("name")}
    for case in results.cases:
        for field in MACHINE:
            named = case.workload.get(field)
            if named is not None and own[field] is not None:
                sentence = f"measured on {named}, in results of {own[field]}"
                yield judged(named == own[field], sentence, case)
    for several in _alike(results, leaving_out=MACHINE):
        if len(several) == 1:
            continue
        common = sorted(set.intersection(*(set(case.metrics) for case in several)))
        machines = sorted({_machine(case) for case in several})
        sentence = f"{', '.join(common)} of one case on {' and on '.join(machines)}"
        yield judged(len(machines) == 1 or not common, sentence, *several)


def roof_is_of_the_device(results: Results) -> Iterator[Finding]:
    """A time that is held to a roof was measured on the device whose roof it is."""
    roofs = [case for case in results.cases if any(name in case.metrics for name in ROOFS)]
    if not roofs:
        return
    probed = {_machine(case) for case in roofs}
    for case in results.cases:
        if any(name in case.metrics for name in HELD_TO_A_ROOF):
            sentence = f"times of {_machine(case)} under a roof of {' and of '.join(sorted(probed))}"
            yield judged(_machine(case) in probed, sentence, case, roofs[0])


def _machine(case: Case) -> str:
    named = [str(case.workload[field]) for field in MACHINE if field in case.workload]
    return ", ".join(named) or "an unknown device"


def _alike(results: Results, leaving_out: tuple[str, ...]) -> list[list[Case]]:
    """Cases of one family, variant and workload, but for these fields of it."""
    groups: dict[object, list[Case]] = {}
    for case in results.cases:
        fields = frozenset((name, value) for name, value in case.workload.items() if name not in leaving_out)
        groups.setdefault((case.family, case.variant, fields), []).append(case)
    return list(groups.values())
