"""What a discovered objective is worth: beside tuned PPO, on tasks that nobody has trained on.

The comparison favours PPO: its best setting is chosen by the very tasks on which it is then compared,
while the objective was found on others, with one setting of all else.
"""

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl import objectives
from jaxrl.experiments.discover import spec as specs
from jaxrl.experiments.discover.family import Family, repeated, tables
from jaxrl.experiments.statistics import bootstrap_interval, iqm
from jaxrl.types import Objective, PyTree


@struct.dataclass
class Annealed:
    """The parameters of clipping whose range becomes narrower: `anneal` of it is gone at the end."""

    clip_eps: float = 0.2
    anneal: float = 0.0


def annealed_ppo() -> Objective:
    """PPO with the range `clip_eps (1 - anneal progress)`: what a drift that knows the time could imitate."""
    clipping = objectives.ppo()

    def apply(params, log_ratio, advantages, progress):
        clip_eps = params.clip_eps * (1.0 - params.anneal * progress)
        return clipping.apply(objectives.Clip(clip_eps), log_ratio, advantages, progress)

    return Objective(Annealed(), apply)


class Rival(NamedTuple):
    """An objective, and the settings to choose the best of: names and values, as those of a sweep."""

    objective: Objective
    settings: tuple[dict[str, float], ...]


CLIPS, FACTORS = (0.1, 0.2, 0.3, 0.5), (0.625, 1.0, 1.5625, 2.5)
CONSTANT, ANNEALED, NARROWING = {"lr_decay": 0.0}, {"lr_decay": 1.0}, {"objective.anneal": 1.0}


def rivals(rate: float, entropies: tuple[float, ...]) -> dict[str, Rival]:
    """PPO with 48 settings of clipping, learning rate and what is annealed, and all of them for each entropy
    bonus; the others with what they have of that.

    Args:
      rate: the learning rate of the family; the others are 5/8, 25/16 and 5/2 of it.
    """
    rates = [rate * factor for factor in FACTORS]

    def tuned(objective, schedules, **own):
        axes = {f"objective.{name}": values for name, values in own.items()}
        axes |= {"learning_rate": rates, "ent_coef": entropies}
        each = [dict(zip(axes, values)) for values in itertools.product(*axes.values())]
        return Rival(objective, tuple(CONSTANT | one | more for one in each for more in schedules))

    always = (CONSTANT, ANNEALED)
    return {
        "ppo": tuned(annealed_ppo(), (CONSTANT, ANNEALED, CONSTANT | NARROWING), clip_eps=CLIPS),
        "dpo": tuned(objectives.dpo(), always),
        "spo": tuned(objectives.spo(), always, clip_eps=CLIPS),
        "no clipping": tuned(objectives.policy_gradient(), always),
    }


def settled(rival: Rival, family: Family) -> tuple[PyTree, PyTree]:
    """Parameters and hyperparameters `[K, ...]` of a rival's settings."""
    params, hps = [], []
    for setting in rival.settings:
        inner = {name.partition(".")[2]: v for name, v in setting.items() if "." in name}
        params.append(rival.objective.params.replace(**inner))
        hps.append(family.hparams.replace(**{n: v for n, v in setting.items() if "." not in n}))
    return tuple(jax.tree.map(lambda *leaf: jnp.asarray(leaf, jnp.float32), *tree) for tree in (params, hps))


def scorer(family: Family, count: int):
    """`(objective's apply, params [K, ...], hparams [K]) -> scores [K, T]` on held-out tasks.

    The score of an agent that diverged, or never ended an episode, is not finite: see `filled`.
    """
    tasks, keys = jax.jit(lambda: specs.held_out(family, count))()

    def scores(apply, params, hps) -> np.ndarray:
        run = jax.jit(lambda *own: tables([family], apply, *own)[0])  # as constants tasks compile for minutes
        return np.asarray(run(params, [hps], [tasks], [keys]), np.float64)

    return scores


def filled(*tables: np.ndarray) -> list[np.ndarray]:
    """The tables of scores, in which agents without a finite one count as the worst of all tables."""
    worst = min((table[np.isfinite(table)].min(initial=np.inf) for table in tables), default=np.inf)
    return [np.where(np.isfinite(table), table, worst if np.isfinite(worst) else 0.0) for table in tables]


def judge(spec: specs.Spec, means: PyTree, count: int, transfers: dict[str, specs.World], say=print) -> dict:
    """Compares the objectives `[S, ...]` that a discovery has found with tuned PPO, world by world.

    Args:
      count: held-out tasks of each world.
      transfers: other worlds, where all go on with what was best in the first.

    Returns:
      Data for `text`: for each world the objectives with their scores, their paired differences to PPO.
    """
    learned = specs.start(spec).apply
    homes = {f"held-out tasks of {world.environment}": world for world in spec.worlds}
    judged, fields = [], []
    for label, world in {**homes, **transfers}.items():
        say(f"judging: {label} ...")
        if label in homes:  # what is best elsewhere is what was best in the first
            rate = float(specs.family(world).hparams.learning_rate)
            entropies = (0.0, 0.01, 0.03) if world.environment == "tabular" else (0.0, 0.01)
            fields.append(rivals(rate, entropies))
        field = fields[-1] if label in homes else fields[0]
        family = specs.family(world)
        scores = scorer(family, count)
        found = {
            name: scores(rival.objective.apply, *settled(rival, family)) for name, rival in field.items()
        }
        mine = scores(learned, means, repeated(family.hparams, spec.seeds))
        *full, mine = filled(*found.values(), mine)
        found = dict(zip(found, full))
        tried = {name: len(rival.settings) for name, rival in field.items()}
        field = {name: _best(rival, found[name]) for name, rival in field.items()}
        if label in homes:
            fields[-1] = field
        best = {name: its[int(np.argmax(its.mean(axis=1)))] for name, its in found.items()}
        rows = [row(f"{spec.objective}, seed {spec.seed + i}", it, best["ppo"]) for i, it in enumerate(mine)]
        if len(mine) > 1:
            rows.append(row(f"{spec.objective}, mean of {len(mine)} seeds", mine.mean(axis=0), best["ppo"]))
        for name, its in best.items():
            how = {"setting": field[name].settings[0], "of": tried[name]}
            rows.append((row(name, its, best["ppo"]) if name != "ppo" else summary(name, its)) | how)
        judged.append({"label": label, "world": dataclasses.asdict(world), "rows": rows})
    return {"count": count, "worlds": judged}


def _best(rival: Rival, found: np.ndarray) -> Rival:
    return rival._replace(settings=(rival.settings[int(np.argmax(found.mean(axis=1)))],))


def summary(name: str, scores: np.ndarray) -> dict[str, Any]:
    """Scores `[T]` of one objective as mean and interquartile mean."""
    return {"name": name, "mean": float(scores.mean()), "iqm": float(iqm(scores))}


def row(name: str, scores: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """The same, and how they differ from those of another on the same tasks."""
    difference = scores - others
    low, high = bootstrap_interval(difference)
    wins = np.mean((difference > 0) + 0.5 * (difference == 0))
    paired = {"difference": float(difference.mean()), "interval": [float(low), float(high)]}
    return summary(name, scores) | paired | {"wins": float(wins)}


def text(result: dict) -> str:
    """The tables of a judgement."""
    lines = []
    for world in result["worlds"]:
        lines += [
            "",
            f"{world['label']} ({result['count']} tasks; differences to ppo are paired, 95 % bootstrap)",
        ]
        width = max(len(row["name"]) for row in world["rows"])
        for row in world["rows"]:
            line = f"  {row['name']:{width}s}  {row['mean']:.4f}  IQM {row['iqm']:.4f}"
            if "difference" in row:
                low, high = row["interval"]
                line += f"  {row['difference']:+.4f} ({low:+.4f} to {high:+.4f})  better in {row['wins']:.0%}"
            if "setting" in row and row["of"] > 1:
                setting = ", ".join(f"{n.rpartition('.')[2]} {v:.3g}" for n, v in row["setting"].items() if v)
                line += f"  best of {row['of']}: {setting}"
            lines.append(line)
    return "\n".join(lines[1:])
