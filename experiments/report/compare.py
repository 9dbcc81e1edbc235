"""Comparison of methods: the seeds of each method in each environment, and which differences are significant.

A method is a command without its environment, seeds, steps and folders. A sweep is represented by its best
trial, with the fresh seeds if it was trained again.
"""

import collections
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrl.experiments import diverged, reference
from jaxrl.experiments.report.markup import several
from jaxrl.experiments.report.schema import Source, kind_of
from jaxrl.experiments.search import SEARCHES
from jaxrl.statistics import (
    Estimate,
    across_tasks,
    difference,
    holm,
    permutation_p,
    probability_of_improvement,
    signed_rank_p,
)

# Options that do not distinguish methods.
IGNORED = ("--out", "--seed", "--seeds", "--steps", "--intervals", "--eval-episodes", "--save-every-seconds")
IGNORED += ("--confirm-seeds", "--tensorboard", "--wandb", "--compile-cache", "--no-compile-cache")
IGNORED += ("--no-tensorboard", "--no-wandb", "--no-dry-run", "--csv", "--no-csv", "--tracked-runs")
IGNORED += ("--wandb-project", "--wandb-entity", "--wandb-group", "--wandb-tags")

MOST_PAIRS = 15  # with more, only the best method is compared, with this many of the next best ones
ALPHA = 0.05


class Entry(NamedTuple):
    """A method in an environment.

    Attributes:
      returns: final return by seed; for an agent that diverged the worst of all in this environment.
      chosen: these seeds also selected it from the trials of a sweep, so its score is biased upwards.
      trial: its record.
    """

    method: str
    environment: str
    returns: dict[int, float]
    chosen: bool
    trial: dict[str, Any]
    metric: str | None

    @property
    def lost(self) -> int:
        """How many of its agents diverged or have no return."""
        return diverged.lost(self.trial)


class Pair(NamedTuple):
    """Two methods over the environments that both have.

    Attributes:
      seeds: the smallest number of seeds of a method in an environment.
      p: corrected by Holm's method over all pairs shown.
      least_p: the smallest p that this number of seeds can give, before the correction.
    """

    first: str
    second: str
    environments: list[str]
    probability: Estimate
    difference: Estimate
    paired: bool
    seeds: int
    p: float
    least_p: float

    @property
    def significant(self) -> bool:
        return self.p < ALPHA


def best_of(source: Source) -> tuple[dict[str, Any], bool]:
    """The trial that represents a source, and whether its own seeds selected it."""
    for one in source.confirms:
        return one, False
    return source.trials[0], len(source.trials) > 1


def is_populations(source: Source) -> bool:
    """Whether its trials are populations, each a separate search (population based training)."""
    return kind_of(source).populations


def is_evolution(source: Source) -> bool:
    """Whether its trials are the candidates of an evolution strategy, which recommends their mean."""
    return kind_of(source).recommends


def is_sweep(source: Source) -> bool:
    """Whether there was a selection, so that its page shows more than one agent per seed."""
    return len(source.trials) > 1 or is_populations(source)


def search_of(source: Source) -> str:
    """What was searched: `32 trials`, `8 populations of 12 members`."""
    count = len(source.trials)
    if is_populations(source):
        members = source.about.get("slots")
        return several(count, "population") + (f" of {several(members, 'member')}" if members else "")
    if is_evolution(source):
        generations = len({one["generation"] for one in source.trials})
        return f"{several(generations, 'generation')} of {several(count // generations, 'candidate')}"
    return several(count, "trial")


def scored(source: Source) -> Source:
    """The source with scores recomputed by the current rule: see `experiments.diverged`.

    Each trial also gets `counted`, its returns with those of diverged agents replaced, or an empty list.
    Trials are sorted again: those trained for longer first, then by score.
    """
    shown = [*source.trials, *source.confirms]
    least = math.nan if diverged.unknown(shown) else diverged.worst(shown)

    def full(trials, others):
        with_scores = diverged.with_scores(trials, among=others)
        return [{**one, "counted": diverged.counted(one, least)} for one in with_scores]

    trials = full(source.trials, source.confirms)
    trials.sort(key=lambda one: (one["score"] is None, -one["steps"], -(one["score"] or 0.0)))
    return source._replace(trials=trials, confirms=full(source.confirms, source.trials))


def seeds_of(trial: dict[str, Any]) -> dict[int, float]:
    """Final returns by seed; for agents that diverged the worst of all trials of the source."""
    counted = trial.get("counted")
    if counted is None:  # a trial alone
        counted = diverged.counted(trial, diverged.worst([trial]))
    return dict(enumerate(counted, trial["first_seed"]))


def entries(sources: list[Source]) -> list[Entry]:
    """Every source as a method in an environment; an agent that diverged counts as the worst there.

    An environment in which no agent has a return is omitted.
    """
    methods = [method(source) for source in sources]
    places = [environment(source) for source in sources]
    names = _distinct([source.about["name"] for source in sources])
    counts = collections.Counter(zip(methods, places))
    twice = {name for (name, _), count in counts.items() if count > 1}
    listed = []
    chosen_of = list(map(best_of, sources))
    here: dict[str, list[dict[str, Any]]] = {place: [] for place in places}
    for (trial, _), place in zip(chosen_of, places):
        here[place].append(trial)
    least = {place: diverged.worst(those) for place, those in here.items()}
    for source, name, place, short, (trial, chosen) in zip(sources, methods, places, names, chosen_of):
        counted = diverged.counted(trial, least[place])
        if counted:
            label = f"{name} [{short}]" if name in twice else name
            returns = dict(enumerate(counted, trial["first_seed"]))
            listed.append(Entry(label, place, returns, chosen, trial, source.about.get("metric")))
    return listed


def _distinct(names: list[str]) -> list[str]:
    """Numbers names that occur more than once."""
    total, distinct = collections.Counter(names), []
    seen: collections.Counter[str] = collections.Counter()
    for name in names:
        seen[name] += 1
        distinct.append(f"{name} {seen[name]}" if total[name] > 1 else name)
    return distinct


def method(source: Source) -> str:
    """The command without environment, seeds, steps and folders: `ppo --hp.gamma 0.9`."""
    about = source.about
    # The search of a sweep is described separately.
    searched = ["--trials", "--search", *(f"--{name}" for its in SEARCHES.values() for name in its.options)]
    words = [part for word in about["command"][4:] for part in _split(word)]
    kept, keeping = [], True
    for word in words:
        if word.startswith("--"):
            keeping = word.replace("_", "-") not in IGNORED and not word.startswith("--env.")
            keeping = keeping and word not in (*about["axes"], *searched)
        if keeping:
            kept.append(word)
    kind = kind_of(source)
    by = f"{about['search']}, " if kind.device or kind.batches else "best of "
    tuned = f" ({by}{search_of(source)})" if is_sweep(source) else ""
    return " ".join([about["algorithm"], *kept]) + tuned


def _split(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--") else [word]


def plain(flag: str) -> str:
    """A flag as words: `learning rate` for `--hp.learning-rate`."""
    return flag.rpartition("--")[2].partition(".")[2].replace("-", " ").replace(".", " ") or flag.lstrip("-")


def environment(source: Source) -> str:
    """The environment, with the parameters that were set."""
    settings = ", ".join(f"{name} {value}" for name, value in (source.about.get("env") or {}).items())
    return source.about["environment"] + (f" ({settings})" if settings else "")


def ranges(entries: list[Entry], given: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """For each environment the returns that are normalized to 0 and 1: those given, or the references.

    An environment with neither is omitted: its returns cannot be aggregated with others. See `reference`.

    Raises:
      ValueError: a range is given for an environment that does not occur.
    """
    places = environments(entries)
    for place in given:
        if place not in places:
            raise ValueError(f"--range {place}: this environment does not occur, only {', '.join(places)}")
    known = reference.ranges() | given
    return {place: known[place] for place in places if place in known}


def normalised(one: Entry, scale: dict[str, tuple[float, float]]) -> np.ndarray:
    """Returns of an entry, normalized by its environment's range."""
    low, high = scale[one.environment]
    return (np.array(list(one.returns.values())) - low) / (high - low)


def environments(entries: list[Entry]) -> list[str]:
    return list(dict.fromkeys(one.environment for one in entries))


def estimate(tasks: Sequence[Any], statistic: str = "IQM") -> Estimate:
    """`across_tasks`, computed once for the same returns: a page shows an estimate in several places."""
    return _across_tasks(tuple(tuple(map(float, task)) for task in tasks), statistic)


_across_tasks = functools.lru_cache(maxsize=10_000)(across_tasks)


def shared_environments(entries: list[Entry], scale) -> list[str]:
    """Environments that all methods have, and that have a range."""
    methods = {one.method for one in entries}
    places = [place for place in environments(entries) if place in scale]
    return [p for p in places if {one.method for one in entries if one.environment == p} == methods]


def aggregates(entries: list[Entry], scale) -> dict[str, tuple[Estimate, Estimate]]:
    """IQM and median of each method's normalized returns over the shared environments, best first."""
    shared = shared_environments(entries, scale)
    result, lost = {}, {}
    by_method: dict[str, list[Entry]] = {}
    for one in entries:
        by_method.setdefault(one.method, []).append(one)
    for name, its in by_method.items() if shared else ():
        tasks = [normalised(one, scale) for one in its if one.environment in shared]
        result[name] = estimate(tasks), estimate(tasks, "median")
        lost[name] = sum(one.lost for one in its)
    return dict(sorted(result.items(), key=lambda item: (-item[1][0].value, lost[item[0]])))


def pairs(entries: list[Entry], scale) -> list[Pair]:
    """Pairwise comparisons of methods over shared environments with a range, best first.

    p is corrected by Holm's method.
    """
    order = list(aggregates(entries, scale)) or list(dict.fromkeys(one.method for one in entries))
    chosen = list(itertools.combinations(order, 2))
    if len(chosen) > MOST_PAIRS:
        chosen = [(order[0], other) for other in order[1 : MOST_PAIRS + 1]]
    made = [pair for first, second in chosen if (pair := _pair(entries, scale, first, second))]
    corrected = holm([pair.p for pair in made])
    return [pair._replace(p=float(p)) for pair, p in zip(made, corrected)]


def _pair(entries: list[Entry], scale, first: str, second: str) -> Pair | None:
    mine = {one.environment: one for one in entries if one.method == first}
    theirs = {one.environment: one for one in entries if one.method == second}
    places = [place for place in mine if place in theirs and place in scale]
    if not places:
        return None
    paired = all(mine[place].returns.keys() == theirs[place].returns.keys() for place in places)
    x = [normalised(mine[place], scale) for place in places]
    y = [normalised(theirs[place], scale) for place in places]
    if paired:
        p, least_p = signed_rank_p(np.concatenate(x) - np.concatenate(y)), 2.0 ** (1 - sum(map(len, x)))
    else:
        deals = math.prod(math.comb(len(a) + len(b), len(a)) for a, b in zip(x, y))
        p, least_p = permutation_p(x, y), 2 / deals
    probability, by = probability_of_improvement(x, y), difference(x, y, paired)
    seeds = min(len(values) for values in (*x, *y))
    return Pair(first, second, places, probability, by, paired, seeds, p, least_p)
