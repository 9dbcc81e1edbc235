"""The stages of a discovery, which is one run, and its comparison with tuned PPO."""

import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl import files, hosts, reporters, sources
from jaxrl.experiments import runs, user_files
from jaxrl.experiments.runs import training
from jaxrl.experiments.studies.discover import comparison, spec
from jaxrl.experiments.studies.discover.programs import build
from jaxrl.programs import Programs

SHOWN = {
    "candidates": "fitness/mean",
    "held-out": "evaluation/return",
    "best candidate": "fitness/best",
    "spread of candidates": "fitness/std",
}


def places(made: spec.Spec) -> list[str]:
    """The environments in which agents are trained."""
    return [world.environment for world in made.worlds]


def resume(path: Path, info: dict[str, Any]) -> int:
    """Continues a discovery as if it had not been interrupted."""
    if hosts.several():
        raise ValueError("a discovery runs in one process: omit --coordinator")
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
    result = _comparison(path, made, means, about)
    print(comparison.text(result))
    print(f"{how}, compared in {time.perf_counter() - begun:.1f} s")
    print(f"jaxrl train ppo CartPole-v1 --objective {files[0]}")


def _comparison(path: Path, made: spec.Spec, means, about: dict[str, Any]) -> dict[str, Any]:
    """The comparison, read from its file if it exists."""
    file = path / "judged.json"
    if not file.exists():
        result = about | comparison.compare(made, means, made.held_out, made.transfers)
        files.replace(file, json.dumps(result, indent=1) + "\n")
    return json.loads(file.read_text())


KIND = training.Kind(lambda made: (made, build(made)), announcement, reporter, finish)
