"""The stages of a sweep, from the state of its folder: its groups, the confirmation, the table."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

from jaxrl import files, hosts
from jaxrl.experiments import errors, labels, runs, search
from jaxrl.experiments.runs import searches, training
from jaxrl.experiments.studies import study
from jaxrl.experiments.studies.sweep import progress
from jaxrl.experiments.studies.sweep.best import write_winner
from jaxrl.experiments.studies.sweep.folder import read
from jaxrl.experiments.studies.sweep.groups import Group
from jaxrl.experiments.studies.sweep.outcomes import (
    EPISODES,
    confirmation,
    next_batch,
    write_results,
)
from jaxrl.experiments.studies.sweep.text import table


def carry_on(path: Path) -> int:
    """Continues a sweep from the state of its folder: its groups, the confirmation, the table."""
    info, groups = read(path)
    watched = progress.whole(path, info, groups)
    options = {name: value for name, value in info["options"].items() if name in runs.OPTIONS}

    def done(folder: Path, spec: runs.Spec, index: int, group: Group | None) -> int:
        kind = training.kind_of_training()
        kind = kind._replace(reporter=partial(progress.reporter, watched, index, group))
        kind = kind._replace(finish=partial(_finish, info, group)) if group else kind
        return study.train(path, folder, spec, options, info["command"], kind)

    for number in itertools.count(1):
        group = groups[number - 1] if number <= len(groups) else next_batch(path)
        if group is None:
            break
        if number > len(watched.groups):
            watched.groups.append(group)
        if status := done(path / f"group-{number}", group.spec, number - 1, group):
            return status
    again = hosts.by_leader(lambda: (best := confirmation(path)) and best.to_json())
    if again and (status := done(path / "confirm", runs.from_json(again), len(watched.stages) - 1, None)):
        return status
    if search.named(info["search"]).populations and hosts.leads():
        print(f"evaluating the winners in {EPISODES} fresh episodes each ...", flush=True)
    write_results(path)
    if hosts.leads():
        print(errors.printable(table(path)))
        if lines := write_winner(path):
            print(errors.printable(lines))
        where = files.quoted(path)
        print(f"jaxrl report {where} | jaxrl plot {where} | jaxrl evaluate {where} | jaxrl render {where}")
    return 0


def _finish(
    info: dict[str, Any], group: Group, path: Path, spec: runs.Spec, programs, state, how: str
) -> None:
    """Saves the result of a complete group, and prints its best trial: never a mean over several trials."""
    searches.keep_search(path, spec, programs, state)
    if not hosts.leads():
        return
    runs.draw_curves(path)
    best = progress.ranked(progress.trained(path, info, group))
    what = "no trial has a score"
    if best:
        what = f"best {best['score']:.4g}, trial {best['trial']} ({labels.label(best['values'])})"
    print(f"{path.name}: {how}; {what}", flush=True)
