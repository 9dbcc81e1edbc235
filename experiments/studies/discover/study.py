"""The stages of a discovery, which is one run, and its comparison with tuned PPO."""

import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxrl import reporters, sources
from jaxrl.experiments import runs, user_files
from jaxrl.experiments.runs import training
from jaxrl.experiments.studies import Study, study
from jaxrl.experiments.studies.discover import comparison, spec
from jaxrl.experiments.studies.discover.programs import build
from jaxrl.experiments.studies.parts import Part
from jaxrl.experiments.verdict import Verdict, screen
from jaxrl.files import quoted
from jaxrl.programs import Programs

JUDGED = "judged.json"

SHOWN = {
    "candidates": "fitness/mean",
    "held-out": "evaluation/return",
    "best candidate": "fitness/best",
    "spread of candidates": "fitness/std",
}


def places(made: spec.Spec) -> list[str]:
    """The environments in which agents are trained."""
    return [world.environment for world in made.worlds]


def carry_on(path: Path) -> int:
    """Continues a discovery as if it had not been interrupted."""
    info = runs.read_info(path)
    return training.carry_on(path, spec.from_json(info["spec"]), info["options"], kind=KIND)


def announcement(made: spec.Spec, programs: Programs, path: Path) -> str:
    """One line about the discovery that is about to start."""
    jax.eval_shape(programs.init, made.keys)
    numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(spec.start(made).params))
    num_agents = made.evolve.population * made.evolve.tasks * len(made.worlds)
    steps = reporters.count(made.seeds * made.generations * programs.algo.steps_per_update)
    where, what = ", ".join(map(sources.shown, places(made))), sources.shown(made.objective)
    return (
        f"discovering {what} ({numbers} numbers) in {where}: {made.seeds} meta-seed(s), "
        f"{made.generations} generations of {num_agents} training runs, {steps} steps; into {path}"
    )


def reporter(made: spec.Spec, programs: Programs) -> reporters.Reporter:
    title = sources.shown(f"discover {made.objective}: {', '.join(places(made))}")
    steps = programs.algo.steps_per_update
    return reporters.choose(title, made.generations, steps, made.seeds, SHOWN)


def finish(path: Path, made: spec.Spec, programs: Programs, state, how: str) -> None:
    """Writes an objective file for each meta-seed, and their comparison."""
    means = jax.device_get(programs.agents(state))
    files = [path / f"objective-{made.seed + i}.json" for i in range(made.seeds)]
    info = runs.read_info(path)
    about = {name: info[name] for name in ("command", "versions", "device", "git_commit", "started")}
    for i, file in enumerate(files):
        params = jax.tree.map(lambda leaf: leaf[i], means)  # noqa: B023
        facts = about | {"seed": made.seed + i, "spec": made.to_json()}
        user_files.save_objective(file, made.objective, params, facts, info.get("sources", {}))
    runs.draw_curves(path)
    begun = time.perf_counter()
    judge = partial(comparison.compare, made, means, made.held_out, made.transfers)
    result = study.once(path / JUDGED, comparison.Judged, lambda: about | judge())
    print(screen(comparison.verdict(result)))
    print(f"{how}, compared in {time.perf_counter() - begun:.1f} s")
    print(f"jaxrl train ppo CartPole-v1 --objective {files[0]}")


KIND = training.Kind(lambda made: (made, build(made)), announcement, reporter, finish)


def verdict(path: Path) -> Verdict:
    """The comparison of a complete discovery."""
    return comparison.verdict(study.result(path, JUDGED, comparison.Judged))


def policy(path: Path) -> Path:
    """Raises ValueError: a discovery has objectives, no policy."""
    file = next(iter(sorted(path.glob("objective-*.json"))), path / "objective-0.json")
    raise ValueError(
        f"{path} is the folder of a discovery: it holds objectives, not policies; train with one of them, "
        f"`jaxrl train ppo CartPole-v1 --objective {quoted(file)}`"
    )


def parts(path: Path) -> list[Part]:
    """The generations, and the comparison."""
    return [Part("generations", path), Part("comparison with tuned PPO", path / JUDGED)]


STUDY = Study(carry_on, verdict, runs.curves_of, policy, parts=parts)
