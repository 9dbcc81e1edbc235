"""Compares a discovered objective with tuned PPO and others, on held-out tasks.

All objectives have the same candidates for learning rate, schedule and entropy bonus, and for transfer the
same candidates for the learning rate. The best setting is selected on the tasks on which it is then compared.
That favours PPO, which has more settings, because its clipping range is tuned too.
"""

import dataclasses
import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl import objectives, sources
from jaxrl.discovery.family import Family, tables
from jaxrl.experiments.studies.discover import spec as specs
from jaxrl.experiments.studies.discover import worlds
from jaxrl.experiments.studies.parts import announced, print_at_once
from jaxrl.experiments.verdict import Table, Verdict
from jaxrl.statistics import bootstrap_interval, iqm
from jaxrl.types import Objective, PyTree


@struct.dataclass
class Annealed:
    """Parameters of clipping whose range decreases by the fraction `anneal` over the training."""

    clip_eps: float = 0.2
    anneal: float = 0.0


def annealed_ppo() -> Objective:
    """PPO with the range `clip_eps (1 - anneal progress)`, as a baseline for time-dependent drifts."""
    clipping = objectives.ppo()

    def apply(params, log_ratio, advantages, progress):
        clip_eps = params.clip_eps * (1.0 - params.anneal * progress)
        return clipping.apply(objectives.Clip(clip_eps), log_ratio, advantages, progress)

    return Objective(Annealed(), apply)


class Contender(NamedTuple):
    """An objective, and the settings to select from: names and values, as in a sweep."""

    objective: Objective
    settings: tuple[dict[str, float], ...]


CLIPS, FACTORS = (0.1, 0.2, 0.3, 0.5), (0.625, 1.0, 1.5625, 2.5)
CONSTANT, ANNEALED, NARROWING = {"lr_decay": 0.0}, {"lr_decay": 1.0}, {"objective.anneal": 1.0}


def contenders(
    learned: dict[str, Objective], rate: float, entropies: tuple[float, ...]
) -> dict[str, Contender]:
    """All objectives with every combination of learning rate, learning rate schedule and entropy bonus.

    PPO has 48 settings for each entropy bonus: also a clipping range, which can be annealed instead of the
    learning rate. SPO also has a clipping range; the others, including the learned ones, have only the
    settings common to all.

    Args:
      learned: by name.
      rate: the learning rate of the family; candidates are 5/8, 1, 25/16 and 5/2 of it.
    """

    def tuned(objective, schedules, **inner):
        axes = {f"objective.{name}": values for name, values in inner.items()}
        axes |= {"learning_rate": _rates(rate), "ent_coef": entropies}
        each = [dict(zip(axes, values)) for values in itertools.product(*axes.values())]
        return Contender(objective, tuple(CONSTANT | one | more for one in each for more in schedules))

    always = (CONSTANT, ANNEALED)
    return {name: tuned(objective, always) for name, objective in learned.items()} | {
        "ppo": tuned(annealed_ppo(), (CONSTANT, ANNEALED, CONSTANT | NARROWING), clip_eps=CLIPS),
        "dpo": tuned(objectives.dpo(), always),
        "spo": tuned(objectives.spo(), always, clip_eps=CLIPS),
        "no clipping": tuned(objectives.policy_gradient(), always),
    }


def transferred(contender: Contender, rate: float) -> Contender:
    """The setting selected in the training environment, with the candidate learning rates of another one.

    Learning rates do not transfer between environments. If they were not tuned in each of them, the
    comparison would depend on which objective's learning rate happens to suit the environment.
    """
    (home,) = contender.settings
    return contender._replace(settings=tuple(home | {"learning_rate": each} for each in _rates(rate)))


def _rates(rate: float) -> list[float]:
    return [rate * factor for factor in FACTORS]


def settled(contender: Contender, family: Family) -> tuple[PyTree, PyTree]:
    """Parameters and hyperparameters `[K, ...]` of a contender's settings."""
    params, hps = [], []
    for setting in contender.settings:
        inner = {name.partition(".")[2]: v for name, v in setting.items() if "." in name}
        params.append(contender.objective.params.replace(**inner))
        hps.append(family.hparams.replace(**{n: v for n, v in setting.items() if "." not in n}))
    return tuple(jax.tree.map(lambda *leaf: jnp.asarray(leaf, jnp.float32), *tree) for tree in (params, hps))


def scorer(family: Family, count: int):
    """`(objective's apply, params [K, ...], hparams [K]) -> scores [K, T]` on held-out tasks.

    The score of an agent that diverged, or that finished no episode, is not finite: see `filled`.
    """
    tasks, keys = jax.jit(lambda: worlds.held_out(family, count))()

    @partial(jax.jit, static_argnums=0)
    def run(apply, *inputs):  # arguments, because with tasks as constants compiling takes minutes
        return tables([family], apply, *inputs)[0]

    def scores(apply, params, hps) -> np.ndarray:
        return np.asarray(run(apply, params, [hps], [tasks], [keys]), np.float64)

    return scores


def filled(*tables: np.ndarray) -> list[np.ndarray]:
    """The tables of scores; scores that are not finite are replaced by the worst of all tables."""
    worst = min((table[np.isfinite(table)].min(initial=np.inf) for table in tables), default=np.inf)
    return [np.where(np.isfinite(table), table, worst if np.isfinite(worst) else 0.0) for table in tables]


def compare(
    spec: specs.Spec,
    means: PyTree,
    count: int,
    transfers: dict[str, specs.World],
    say=print_at_once,
) -> dict:
    """Compares the objectives `[S, ...]` of a discovery with tuned PPO, in each environment.

    Args:
      count: held-out tasks per environment.
      transfers: other environments, in which every objective has its best setting from the first training
        environment, except for the learning rate, which is tuned for each with the same candidates.

    Returns:
      Data for `Judged`: for each environment the objectives with scores and paired differences to PPO.
    """
    apply, title = specs.start(spec).apply, sources.shown(spec.objective)
    learned = {
        f"{title}, seed {spec.seed + i}": Objective(jax.tree.map(lambda leaf: leaf[i], means), apply)  # noqa: B023
        for i in range(spec.seeds)
    }
    homes = {f"held-out tasks of {sources.shown(world.environment)}": world for world in spec.worlds}
    compared: list[dict[str, Any]] = []
    first: dict[str, Contender] = {}
    places = {**homes, **transfers}
    for number, (label, world) in enumerate(places.items(), 1):
        family = worlds.family(world)
        rate = float(family.hparams.learning_rate)
        if label in homes:
            entropies = (0.0, 0.01, 0.03) if world.environment == "tabular" else (0.0, 0.01)
            field = contenders(learned, rate, entropies)
        else:
            field = {name: transferred(contender, rate) for name, contender in first.items()}
        scores = scorer(family, count)
        what = f"comparing in {label} ({number} of {len(places)})"
        sizes = {name: len(one.settings) for name, one in field.items()}
        all_scores = {
            name: scores(field[name].objective.apply, *settled(field[name], family))
            for name in announced(what, sizes, say)
        }
        all_scores = dict(zip(all_scores, filled(*all_scores.values())))
        chosen = {name: int(np.argmax(its.mean(axis=1))) for name, its in all_scores.items()}
        if not first:
            first = {
                name: one._replace(settings=(one.settings[chosen[name]],)) for name, one in field.items()
            }
        best = {name: its[chosen[name]] for name, its in all_scores.items()}
        rows = []
        for name, its in best.items():
            how = {"setting": field[name].settings[chosen[name]], "of": len(field[name].settings)}
            rows.append((row(name, its, best["ppo"]) if name != "ppo" else summary(name, its)) | how)
        if len(learned) > 1:
            mean, name = np.mean([best[name] for name in learned], axis=0), f"{title}, mean of"
            rows.insert(len(learned), row(f"{name} {len(learned)} seeds", mean, best["ppo"]))
        compared.append({"label": label, "world": dataclasses.asdict(world), "rows": rows})
    return {"count": count, "worlds": compared}


def summary(name: str, scores: np.ndarray) -> dict[str, Any]:
    """Scores `[T]` of one objective as mean and interquartile mean."""
    return {"name": name, "mean": float(scores.mean()), "iqm": float(iqm(scores))}


def row(name: str, scores: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """`summary`, and the paired differences to the scores of another objective on the same tasks."""
    difference = scores - others
    low, high = bootstrap_interval(difference)
    wins = np.mean((difference > 0) + 0.5 * (difference == 0))
    paired = {"difference": float(difference.mean()), "interval": [float(low), float(high)]}
    return summary(name, scores) | paired | {"wins": float(wins)}


@dataclasses.dataclass(frozen=True)
class Row:
    """The scores of an objective, as `row` and `summary` return them, and how its setting was selected."""

    name: str
    mean: float
    iqm: float
    difference: float | None = None
    interval: tuple[float, float] | None = None
    wins: float | None = None
    setting: dict[str, float] = dataclasses.field(default_factory=dict)
    of: int = 1


@dataclasses.dataclass(frozen=True)
class Compared:
    """The scores of all objectives in an environment."""

    label: str
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Judged:
    """The result of `compare`, the content of `judged.json`."""

    count: int
    worlds: tuple[Compared, ...]


def verdict(result: Judged) -> Verdict:
    """The result of `compare` as tables."""
    head = ("objective", "mean", "IQM", "difference to ppo", "better in", "setting")
    note = f"({result.count} tasks; differences to ppo are paired, 95 % bootstrap)"
    parts = (
        Table(f"{one.label} {note}", head, tuple(map(_cells, one.rows)), labelled=True)
        for one in result.worlds
    )
    return Verdict("discovered objectives, compared with tuned PPO", tuple(parts))


def _cells(row: Row) -> tuple[str, ...]:
    cells = [row.name, f"{row.mean:.4f}", f"IQM {row.iqm:.4f}"]
    if row.difference is not None and row.interval is not None and row.wins is not None:
        low, high = row.interval
        cells += [f"{row.difference:+.4f} ({low:+.4f} to {high:+.4f})", f"better in {row.wins:.0%}"]
    if row.of > 1:
        setting = ", ".join(f"{n.rpartition('.')[2]} {v:.3g}" for n, v in row.setting.items() if v)
        cells += [""] * (5 - len(cells)) + [f"best of {row.of}: {setting}"]
    return tuple(cells)
