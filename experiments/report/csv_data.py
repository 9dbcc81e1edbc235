"""The records of a report as CSV, for spreadsheets, pandas and R.

One line for each agent and point of its learning curve; the last of an agent is its result. An agent of which
no curve is known has one line. Options that a sweep varies have a column each, under their flags.
"""

import csv
import io
from typing import Any

from jaxrl.experiments.report.schema import Source

COLUMNS = ("name", "kind", "algorithm", "environment", "objective", "trial", "confirms", "seed", "timesteps")
COLUMNS += ("return", "diverged_at")


def text(sources: list[Source]) -> str:
    """All sources as one table."""
    axes = dict.fromkeys(axis for source in sources for axis in source.about["axes"])
    out = io.StringIO()
    writer = csv.DictWriter(out, (*COLUMNS, *axes), lineterminator="\n")
    writer.writeheader()
    for about, trials, confirms in sources:
        shared = {name: about.get(name) for name in COLUMNS[:5]}
        for one in (*trials, *confirms):
            which = {"trial": one.get("trial"), "confirms": one.get("confirms"), **one["values"]}
            writer.writerows(shared | which | point for point in _points(one))
    return out.getvalue()


def _points(one: dict[str, Any]):
    """Seed, steps, return and divergence of a trial's agents, in their order."""
    curve = one.get("curve") or {"timesteps": [], "per_seed": []}
    for lane, last in enumerate(one["per_seed"]):
        seed = one["first_seed"] + lane
        about = {"seed": seed, "diverged_at": (one.get("died") or {}).get(str(seed))}
        known = curve["per_seed"][lane] if lane < len(curve["per_seed"]) else []
        points = dict(zip(curve["timesteps"], known)) | {one["steps"]: last}
        yield from (about | {"timesteps": steps, "return": value} for steps, value in points.items())
