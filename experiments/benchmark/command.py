"""`jaxrl benchmark SUITE`: its options, and the steps from them to a folder of results."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from jaxrl.experiments.benchmark import against, gpu, measure, peers, replay, results, suites
from jaxrl.names import lookup

USAGE = """\
usage: jaxrl benchmark [SUITE] [OPTIONS]

  train        one agent: steps per second and returns     ours, rejax, sb3, sbx
  population   many agents at once                         ours, rejax
  replay       learning from a replay, and its draws      ours, rejax, rejax-repaired, flashbax, sbx
  envs         environments stepped with random actions    ours, gymnax, brax
  compile      from the start of a process to the first update, cold and warm
  gpu          an accelerator: correctness, speeds, effect of settings, in 9 minutes

`jaxrl benchmark SUITE --help` shows the options."""


@dataclasses.dataclass
class Common:
    """The options of all suites."""

    repeats: int = 5  # rounds; each contender is timed once per round
    contenders: tuple[str, ...] = ()  # contenders to run; default: all of the suite
    against: str | None = None  # commit to compare jaxrl with; other contenders only if named
    fail_below: float | None = None  # exit status 1 if a median ratio to that commit is below this
    limit: float = 300.0  # seconds without output after which a contender counts as hung
    out: Path | None = None  # folder of the results; otherwise one in benchmarks/


@dataclasses.dataclass
class Train(Common):
    """One agent, with equal settings for all contenders: steps per second, and the return after training."""

    env: tuple[str, ...] = ("CartPole-v1",)  # of CartPole-v1, Breakout-MinAtar, gymnax/Breakout-MinAtar
    num_envs: int | None = None  # environments of the agent, if not the default number
    seconds: float = 3.0  # length of a repeat
    learn_steps: int | None = None  # steps of the agents whose returns are compared; 0: none
    learn_seeds: int = 8  # number of these agents, for contenders that train several at once


@dataclasses.dataclass
class Population(Common):
    """Many agents at once: steps per second of all together."""

    env: tuple[str, ...] = ("CartPole-v1",)  # of CartPole-v1, Breakout-MinAtar, gymnax/Breakout-MinAtar
    agents: tuple[int, ...] = (64, 256)  # sizes of the populations
    num_envs: int | None = None  # environments of each agent, if not the default number
    seconds: float = 3.0  # length of a repeat
    devices: tuple[int, ...] = ()  # jaxrl also on a CPU divided into these numbers of devices
    rates: int = 0  # also a sweep: this many learning rates, distributed among the agents
    scale: bool = False  # jaxrl also with 64 to 4096 agents, 10,000 steps each


@dataclasses.dataclass
class Replay(Common):
    """DQN and SAC with equal settings, one agent or many, and the time of a draw from a replay."""

    env: tuple[str, ...] = ("CartPole-v1", "gymnax/Breakout-MinAtar", "Pendulum-v1")  # DQN, DQN and SAC
    agents: tuple[int, ...] = (1, 16, 128)  # numbers of agents at once
    capacities: tuple[int, ...] = (10_000, 100_000, 1_000_000)  # rows of the replays that are drawn from
    seconds: float = 2.0  # length of a repeat
    learn_steps: int | None = None  # steps of the agents whose returns are compared; 0: none
    learn_seeds: int = 8  # number of these agents, for contenders that train several at once
    only: Literal["train", "draw"] | None = None  # only the agents, or only the draws


@dataclasses.dataclass
class Envs(Common):
    """Environments stepped with random actions in one program, including resets."""

    envs: tuple[str, ...] = ()  # names; default: all that both jaxrl and gymnax have
    num_envs: tuple[int, ...] = (64, 4096)  # numbers of parallel environments
    brax: bool = False  # also brax's ant and hopper
    seconds: float = 3.0  # length of a repeat


@dataclasses.dataclass
class Compile(Common):
    """From the start of a process to the first update, with an empty cache and with a full one."""

    env: str = "CartPole-v1"  # what is trained


SUITES: dict[str, type] = {
    "train": Train,
    "population": Population,
    "replay": Replay,
    "envs": Envs,
    "compile": Compile,
}
CASES: dict[str, Callable] = {
    "train": suites.train_cases,
    "population": suites.population_cases,
    "replay": replay.cases,
    "envs": suites.envs_cases,
    "compile": suites.compile_cases,
}


def command(argv: list[str]) -> int:
    """Runs a suite. Returns the exit status: 1 if jaxrl failed or is slower than allowed."""
    from jaxrl.experiments.options import parse

    if argv and argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    suite, rest = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("train", argv)
    options = parse(lookup("suite", {**SUITES, "gpu": gpu.Gpu}, suite), rest, f"jaxrl benchmark {suite}")
    if suite == "gpu":
        return gpu.run(options, rest)
    names = check(suite, options)
    cases = CASES[suite](options)
    if not any(measure.takes_part(suite, name, case) for name in names for case in cases):
        raise ValueError(f"{', '.join(names)} cannot run {cases[0].settings['env']}; leave --contenders out")
    for case in cases:
        suites.require_memory(case)
    with before(options.against) as old, progress() as (say, tell):
        out = results.make_folder(options.out, suite)

        def facts(outcomes):
            settings = {
                name: case.settings for case in cases for name in ([case.name] if case.name else outcomes)
            }
            return results.provenance(suite, argv, outcomes, old), settings

        def save(outcomes):
            results.save(out, outcomes, *facts(outcomes))

        outcomes = measure.measure(suite, options, names, cases, old, say, tell, save)
    seconds = suite == "compile"
    results.write(out, suite, outcomes, *facts(outcomes), seconds)
    return results.status(outcomes, options.fail_below, seconds)


def check(suite: str, options: Any) -> list[str]:
    """The contenders. Raises ValueError for an invalid option, with the remedy."""
    for name in ("repeats", "num_envs", "learn_seeds", "agents", "devices", "capacities"):
        values = getattr(options, name, None)
        for value in values if isinstance(values, tuple) else (values,):
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
    for name in ("seconds", "limit", "fail_below"):
        value = getattr(options, name, None)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} = {value} must be positive")
    for agents in options.agents if getattr(options, "rates", 0) else ():
        if options.rates < 0 or agents % options.rates:
            raise ValueError(f"rates = {options.rates} must divide the number of agents, {agents}")
    if (getattr(options, "learn_steps", None) or 0) < 0:
        raise ValueError(f"learn_steps = {options.learn_steps} must not be negative; 0 leaves it out")
    for name in ("env", "agents", "capacities", *(["num_envs"] if suite == "envs" else [])):
        if getattr(options, name, True) in ((), ""):
            raise ValueError(f"--{name} has no value: leave it out for the defaults")
    if options.fail_below is not None and options.against is None:
        raise ValueError("--fail-below needs --against COMMIT: it compares ours with that commit")
    for name in options.contenders:
        lookup(f"contender of {suite}", peers.SUITES[suite], name)
    if options.contenders:
        return list(dict.fromkeys((*(["ours"] if options.against else []), *options.contenders)))
    return ["ours"] if options.against else list(peers.SUITES[suite])


@contextlib.contextmanager
def progress() -> Iterator[tuple[Callable, Callable]]:
    """Two functions that take one line: a temporary status, and a permanent message."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as line:

        def tell(text):
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield (lambda text: line.update(text)), tell


@contextlib.contextmanager
def before(name: str | None) -> Iterator[tuple[str, Path] | None]:
    """The commit to compare with: its hash and the folder of its package, which exists inside the context."""
    if name is None:
        yield None
        return
    commit = against.resolve(name)
    with tempfile.TemporaryDirectory(prefix="jaxrl-") as folder:
        yield commit, against.build(commit, Path(folder))
