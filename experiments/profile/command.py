"""`jaxrl profile ALGO ENV`: the time of the parts of an update, and its fraction of the machine's peak."""

import dataclasses
import json
import tempfile
from pathlib import Path

from jaxrl import files
from jaxrl.experiments import runs, spec_options
from jaxrl.experiments.preset_choice import chosen_preset
from jaxrl.experiments.profile.measure import profile
from jaxrl.experiments.profile.output import markdown, show


def options(algorithm: str, environment: str, objective_name: str, tuned_for: str = "") -> type:
    """The options of `jaxrl profile ALGO ENV` as a dataclass: those of training that affect its program."""
    trained = spec_options.train_options(algorithm, environment, objective_name, tuned_for)
    kind = {field.name: field.type for field in dataclasses.fields(trained)}
    default = {field.name: field.default for field in dataclasses.fields(trained)}

    @dataclasses.dataclass
    class Profile:
        """The time of one update by part, and its fraction of the machine's peak."""

        updates: int = 200  # timed updates; fewer if they take more than 20 seconds
        operations: int = 0  # also list this many single operations, the most expensive first
        out: Path | None = None  # folder for profile.json, profile.md and the raw trace
        json: bool = False  # print one JSON object instead of a table
        seeds: int = 1  # agents trained at once
        seed: int = 0  # of the first agent; the others follow
        objective: kind["objective"] = default["objective"]  # policy objective, by name or as a file
        preset_of: str = tuned_for  # take the preset of this ALGO, or ALGO:ENV
        config: kind["config"] = default["config"]  # static settings
        hp: kind["hp"] = default["hp"]  # traced hyperparameters
        env: kind["env"] = default["env"]  # parameters of the environment

    return Profile


def command(argv: list[str]) -> int:
    """`jaxrl profile ALGO ENV [OPTIONS]`."""
    algorithm, environment, kind, chosen, env = spec_options.understand("profile", options, argv)
    if chosen.hp.total_updates != kind.hp.total_updates:
        raise ValueError("--hp.total-updates follows from the steps of the preset: leave it out")
    for name, least in (("updates", 1), ("operations", 0)):
        if getattr(chosen, name) < least:
            raise ValueError(f"{name} = {getattr(chosen, name)} must be at least {least}")
    if chosen.out and chosen.out.exists() and not chosen.out.is_dir():
        raise ValueError(f"{chosen.out} exists and is not a folder: give --out another name")
    objective, hparams = runs.with_objective(chosen.objective, chosen.hp)
    parts = chosen.config, chosen.hp
    usual, _ = chosen_preset(algorithm, environment, chosen.objective, chosen.preset_of, parts)
    spec = runs.Spec(
        algorithm=algorithm,
        environment=environment,
        env=env,
        objective=objective,
        config=chosen.config,
        hparams=hparams,
        steps=usual.steps,
        seed=chosen.seed,
        seeds=chosen.seeds,
        intervals=1,
        eval_episodes=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = profile(spec, chosen.updates, chosen.out / "trace" if chosen.out else Path(folder))
    if chosen.out:
        files.replace(chosen.out / "profile.json", json.dumps(result, indent=2) + "\n")
        files.replace(chosen.out / "profile.md", markdown(result, chosen.operations or 10))
    if chosen.json:
        print(json.dumps(result))
    else:
        show(result, chosen.operations)
    return 0
