"""The commands of `jaxrl`: one line here and one file each, with `command(argv) -> exit status`.

The line of a study can include its command: see `studies.Kind`.
"""

import importlib
from collections.abc import Callable
from typing import NamedTuple

from jaxrl.experiments.studies import STUDIES


class Command(NamedTuple):
    """A module below `jaxrl.experiments`, and what `jaxrl --help` shows of it."""

    module: str
    usage: str


# In the order of `jaxrl --help`.
COMMANDS = {
    "train": Command(
        "commands.train",
        "train ALGO ENV      train agents, all seeds at once        jaxrl train ppo CartPole-v1 --seeds 8\n"
        "train --from RUN    the same again, or from a TOML file    [--seeds 16] and other changes",
    ),
    "sweep": Command(
        "commands.sweep",
        "sweep ALGO ENV      many trials in one program             "
        "jaxrl sweep ppo CartPole-v1 --hp.gamma 0.9,0.99",
    ),
    "resume": Command(
        "commands.resume",
        "resume RUN          continue a run that was stopped        [--steps N], or beyond its end",
    ),
    "watch": Command(
        "commands.watch",
        "watch RUN           the progress of a run in another process   [--once]",
    ),
    "evaluate": Command(
        "commands.evaluate",
        "evaluate RUN        returns over fresh episodes            [--episodes N] [--json]",
    ),
    "plot": Command(
        "commands.plot",
        "plot RUN...         learning curves with intervals         [--out FILE.png]",
    ),
    "report": Command(
        "report.command",
        "report PATH...      runs and sweeps as one page            [--out FILE.html] [--data FILE.csv]",
    ),
    "render": Command(
        "commands.render",
        "render RUN          an episode as a GIF; of brax, a page   [--seed K] [--out FILE.gif | FILE.html]",
    ),
    "export": Command(
        "commands.export",
        "export RUN          the trained policy for NumPy, JAX, ONNX or C   [--format npz|stablehlo|onnx|c]",
    ),
    "discover": Command(
        "commands.discover",
        "discover            evolves a policy objective             jaxrl discover --preset tabular",
    ),
    "distil": Command("commands.distil", "distil FILE         a formula for a learned objective"),
    "meta": Command(
        "commands.meta",
        "meta EXPERIMENT     learn hyperparameters during training  jaxrl meta tune --env Catch-bsuite",
    ),
    "list": Command(
        "commands.list",
        "list [WHAT [WORD]]  algos, envs, objectives or presets     jaxrl list envs breakout",
    ),
    "benchmark": Command(
        "benchmark.command",
        "benchmark [SUITE]   speeds: train, population, envs or compile, beside other libraries; gpu",
    ),
    "profile": Command(
        "profile.command",
        "profile ALGO ENV    where the time of an update goes     [--updates N] [--operations N] [--json]",
    ),
    "compare": Command(
        "commands.compare",
        "compare             objectives beside tuned PPO            "
        "--environments ENV... [--objectives NAME...]",
    ),
    "drift": Command(
        "commands.drift",
        "drift NAME...       what objectives do to a ratio: a plot  [--out FILE.png]",
    ),
    "horizon": Command(
        "commands.horizon",
        "horizon ENV         how hard exploration is in a small environment   [--episodes N] [--json]",
    ),
    "talk": Command(
        "commands.talk",
        "talk ENV            evolve messages that harm, help or steer an agent   [--mode harm]",
    ),
    "new": Command(
        "commands.new",
        "new KIND FILE       a file to start from: algorithm, env or objective   [--from ALGO]",
    ),
    "completion": Command(
        "commands.completion",
        "completion SHELL    a script that completes commands and names: bash, zsh or fish",
    ),
}


def known() -> dict[str, Command]:
    """All commands by name."""
    of_studies = {name: Command(its.module, its.usage) for name, its in STUDIES.items() if its.usage}
    return COMMANDS | of_studies


def load(name: str) -> Callable[[list[str]], int]:
    """The function of a command; only its module is imported."""
    return importlib.import_module(f"jaxrl.experiments.{known()[name].module}").command
