"""Methods beside each other: which seeds each has in which environment, and what can be told apart.

A method is what was typed but for environment, seeds, steps and folders; a sweep stands for its best trial,
with the fresh seeds where it has been trained again with some.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from jaxrl.experiments.report.data import Source
from jaxrl.experiments.report.markup import several
from jaxrl.experiments.search import KINDS, METHODS
from jaxrl.experiments.statistics import (
    Estimate,
    across_tasks,
    difference,
    holm,
    permutation_p,
    probability_of_improvement,
    signed_rank_p,
)

# Options that make no other method of the same words.
IGNORED = ("--out", "--seed", "--seeds", "--steps", "--intervals", "--eval-episodes", "--save-every-seconds")
IGNORED += ("--confirm-seeds", "--tensorboard", "--wandb", "--compile-cache", "--no-compile-cache")
IGNORED += ("--no-tensorboard", "--no-wandb", "--no-dry-run")
# How a sweep searched; what came of that is said in other words.
SEARCHED = ("--trials", "--search", "--slots", "--eta", "--rungs", "--decisions", "--generations")

MOST_PAIRS = 15  # of more methods only the best is compared with the others
ALPHA = 0.05


class Entry(NamedTuple):
    """A method in an environment.

    Attributes:
      returns: final return by seed, of the agents that live.
      chosen: these seeds chose it among the trials of a sweep, so it looks better than it is.
      trial: its record.
    """

    method: str
    environment: str
    returns: dict[int, float]
    chosen: bool
    trial: dict[str, Any]
    metric: str | None


class Pair(NamedTuple):
    """Two methods over the environments that both have.

    Attributes:
      seeds: the fewest of a method in an environment.
      p: corrected by Holm over all pairs shown.
      least_p: below which the p of so few seeds cannot be, before the correction.
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
    def told_apart(self) -> bool:
        return self.p < ALPHA


def best_of(source: Source) -> tuple[dict[str, Any], bool]:
    """The trial that a source stands for, and whether its own seeds chose it."""
    for one in source.confirms:
        return one, False
    return source.trials[0], len(source.trials) > 1


def is_populations(source: Source) -> bool:
    """Whether its trials are populations, each a search of its own (population based training)."""
    return source.about.get("search") == "pbt"


def is_evolution(source: Source) -> bool:
    """Whether its trials are the candidates of an evolution strategy, which recommends their mean."""
    return source.about.get("search") in METHODS


def is_sweep(source: Source) -> bool:
    """Whether there was a choice, so that its page tells of more than one agent per seed."""
    return len(source.trials) > 1 or is_populations(source)


def search_of(source: Source) -> str:
    """What there was to choose from: `32 trials`, `8 populations of 12 members`."""
    count = len(source.trials)
    if is_populations(source):
        members = source.about.get("slots")
        return several(count, "population") + (f" of {several(members, 'member')}" if members else "")
    if is_evolution(source):
        generations = len({one["generation"] for one in source.trials})
        return f"{several(generations, 'generation')} of {several(count // generations, 'candidate')}"
    return several(count, "trial")


def seeds_of(trial: dict[str, Any]) -> dict[int, float]:
    """Final returns by seed, of the agents of a trial that live."""
    numbered = enumerate(trial["per_seed"], trial["first_seed"])
    return {seed: x for seed, x in numbered if x is not None and str(seed) not in trial["died"]}


def entries(sources: list[Source]) -> list[Entry]:
    """Every source as a method in an environment; without returns it is left out."""
    methods = [method(source) for source in sources]
    places = [environment(source) for source in sources]
    names = _distinct([source.about["name"] for source in sources])
    twice = {
        name for name, place in zip(methods, places) if list(zip(methods, places)).count((name, place)) > 1
    }
    found = []
    for source, name, place, own in zip(sources, methods, places, names):
        trial, chosen = best_of(source)
        returns = seeds_of(trial)
        if returns:
            label = f"{name} [{own}]" if name in twice else name
            found.append(Entry(label, place, returns, chosen, trial, source.about.get("metric")))
    return found


def _distinct(names: list[str]) -> list[str]:
    """Names that occur again are numbered."""
    counts = [names[:index].count(name) + 1 for index, name in enumerate(names)]
    return [f"{name} {count}" if names.count(name) > 1 else name for name, count in zip(names, counts)]


def method(source: Source) -> str:
    """What was typed but for environment, seeds, steps and folders: `ppo --hp.gamma 0.9`."""
    about = source.about
    words = [part for word in about["command"][4:] for part in _split(word)]
    kept, keeping = [], True
    for word in words:
        if word.startswith("--"):
            keeping = word.replace("_", "-") not in IGNORED and not word.startswith("--env.")
            keeping = keeping and word not in (*about["axes"], *SEARCHED)
        if keeping:
            kept.append(word)
    on_the_way = about.get("search") in (*KINDS, "optuna")
    by = f"{about['search']}, " if on_the_way else "best of "
    tuned = f" ({by}{search_of(source)})" if is_sweep(source) else ""
    return " ".join([about["algorithm"], *kept]) + tuned


def _split(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--") else [word]


def plain(flag: str) -> str:
    """A flag as words: `--hp.learning-rate` is the learning rate."""
    return flag.rpartition("--")[2].partition(".")[2].replace("-", " ").replace(".", " ") or flag.lstrip("-")


def environment(source: Source) -> str:
    """The environment, with those of its parameters that were set."""
    settings = ", ".join(f"{name} {value}" for name, value in (source.about.get("env") or {}).items())
    return source.about["environment"] + (f" ({settings})" if settings else "")


def ranges(found: list[Entry], given: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Of each environment the returns that are 0 and 1: the least and the greatest shown, or those given.

    Raises:
      ValueError: a range is given of an environment that is not there.
    """
    places = list(dict.fromkeys(one.environment for one in found))
    for place in given:
        if place not in places:
            raise ValueError(f"--range {place}: there is no such environment here, only {', '.join(places)}")
    shown = {}
    for place in places:
        values = [x for one in found if one.environment == place for x in one.returns.values()]
        shown[place] = given.get(place, (min(values), max(values)))
    return shown


def normalised(one: Entry, scale: dict[str, tuple[float, float]]) -> np.ndarray:
    """Returns of an entry, 0 and 1 at the ends of its environment's range; 1 where that has no width."""
    low, high = scale[one.environment]
    values = np.array(list(one.returns.values()))
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def shared_environments(found: list[Entry]) -> list[str]:
    """Environments that all methods have."""
    methods = {one.method for one in found}
    places = dict.fromkeys(one.environment for one in found)
    return [p for p in places if {one.method for one in found if one.environment == p} == methods]


def aggregates(found: list[Entry], scale) -> dict[str, tuple[Estimate, Estimate]]:
    """IQM and median of each method's normalised returns over the environments that all have, best first."""
    shared = shared_environments(found)
    result = {}
    for name in dict.fromkeys(one.method for one in found) if shared else ():
        tasks = [normalised(one, scale) for one in found if one.method == name and one.environment in shared]
        result[name] = across_tasks(tasks, "IQM"), across_tasks(tasks, "median")
    return dict(sorted(result.items(), key=lambda item: -item[1][0].value))


def pairs(found: list[Entry], scale) -> list[Pair]:
    """Methods against each other where they share an environment, best first, with Holm's correction."""
    order = list(aggregates(found, scale)) or list(dict.fromkeys(one.method for one in found))
    chosen = list(itertools.combinations(order, 2))
    if len(chosen) > MOST_PAIRS:
        chosen = [(order[0], other) for other in order[1:]]
    made = [pair for first, second in chosen if (pair := _pair(found, scale, first, second))]
    corrected = holm([pair.p for pair in made])
    return [pair._replace(p=float(p)) for pair, p in zip(made, corrected)]


def _seeds_had(one: Entry) -> tuple[int, int]:
    """First seed and number of seeds, of the dead too: a pair that lacks one is left out, not the pairing."""
    return one.trial["first_seed"], len(one.trial["per_seed"])


def _pair(found: list[Entry], scale, first: str, second: str) -> Pair | None:
    mine = {one.environment: one for one in found if one.method == first}
    theirs = {one.environment: one for one in found if one.method == second}
    places = [place for place in mine if place in theirs]
    if not places:
        return None
    common = [sorted(mine[place].returns.keys() & theirs[place].returns.keys()) for place in places]
    paired = all(_seeds_had(mine[place]) == _seeds_had(theirs[place]) for place in places) and all(common)
    if paired:
        for place, some in zip(places, common):
            mine[place] = mine[place]._replace(returns={s: mine[place].returns[s] for s in some})
            theirs[place] = theirs[place]._replace(returns={s: theirs[place].returns[s] for s in some})
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
