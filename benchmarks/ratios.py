"""Compare the ratios of a run with those stored in the repository, and fail where one is worse beyond its tolerance.

Usage: python benchmarks/ratios.py check RUN.json [AGAIN.json ...]
       python benchmarks/ratios.py store RUN.json [AGAIN.json ...]

Quick and full runs have ratios of their own in ratios.json, since sizes differ. Of several runs the best value counts:
what another program disturbed is measured again, and only what is worse every time is a fault. What a run does not have
(a baseline is not installed) is not compared.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from goals import Figure, Run

STORED = Path(__file__).with_name("ratios.json")


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A figure, whether more of it is better, and how many times worse than stored it may be."""

    figure: Figure
    more_is_better: bool = False
    tolerance: float = 2.0

    def best(self, values: list[float]) -> float:
        """The best of several."""
        return max(values) if self.more_is_better else min(values)

    def worse_by(self, value: float, stored: float) -> float:
        """How many times worse a value is."""
        return stored / value if self.more_is_better else value / stored


def _watched(
    group: str, who: str, key: str = "best_ratio", *, more_is_better: bool = False, tolerance: float = 2.0
) -> Watched:
    return Watched(figure=Figure(group=group, who=who, key=key), more_is_better=more_is_better, tolerance=tolerance)


#: Best rounds are compared, where there are any: what is left when other programs leave the machine alone. Of the whole
#: dumps of a quick run little is copying: two runs after each other differ by a factor of two.
WATCHED = (
    _watched("callback-idle", "trampoline"),
    _watched("callback-idle", "trampoline-64k"),
    _watched("whole-dump-touched", "minidump_cffi", tolerance=4.0),
    _watched("whole-dump-mappings", "minidump_cffi", tolerance=4.0),
    _watched("whole-dump-threads", "minidump_cffi", tolerance=4.0),
    _watched("replay-million", "trampoline"),
    _watched("output-memory", "minidump_cffi"),
)


def kind_of(run: Run) -> str:
    """Under which name the ratios of a run are stored."""
    return "quick" if run["machine_info"].get("quick") else "full"


def values_of(runs: list[Run]) -> dict[str, tuple[Watched, float]]:
    """Every watched figure that the runs have."""
    found = ((watched, watched.figure.find(runs)) for watched in WATCHED)
    return {str(watched.figure): (watched, watched.best(values)) for watched, values in found if values}


def store(runs: list[Run]) -> None:
    """Write the ratios of the runs into ratios.json."""
    kinds = json.loads(STORED.read_text()) if STORED.exists() else {}
    kinds[kind_of(runs[0])] = {name: float(f"{value:.3g}") for name, (_, value) in values_of(runs).items()}
    STORED.write_text(json.dumps(kinds, indent=2, sort_keys=True) + "\n")


def check(runs: list[Run]) -> list[str]:
    """Name what is worse than stored beyond its tolerance; print a line for each figure."""
    stored = json.loads(STORED.read_text())[kind_of(runs[0])]
    faults = []
    for name, (watched, value) in values_of(runs).items():
        if name not in stored:
            faults.append(f"{name}: no ratio is stored; store one with benchmarks/ratios.py store")
            continue
        worse = watched.worse_by(value, stored[name])
        print(f"{name}: {value:.3g}, stored {stored[name]:g}, {worse:.2f} times, tolerance {watched.tolerance:g}")
        if worse > watched.tolerance:
            faults.append(f"{name}: {value:.3g} is {worse:.2f} times worse than {stored[name]:g}")
    return faults


def main(arguments: list[str]) -> int:
    """Run a subcommand; 1 if something is worse."""
    if len(arguments) < 2 or arguments[0] not in ("check", "store"):
        sys.stderr.write((__doc__ or "").split("\n\n")[1] + "\n")
        return 2
    runs = [json.loads(Path(name).read_text()) for name in arguments[1:]]
    if len({kind_of(run) for run in runs}) > 1:
        sys.stderr.write("quick and full runs cannot be compared\n")
        return 2
    if arguments[0] == "store":
        store(runs)
        return 0
    faults = check(runs)
    for fault in faults:
        sys.stderr.write(f"ratio: {fault}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
