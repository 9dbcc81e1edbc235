"""What `jaxrl benchmark gpu` measures, most important first: groups of items, one process for each group."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Item(NamedTuple):
    """One measurement: a function of `workers/gpu_items.py` and its settings."""

    name: str
    kind: str
    settings: dict[str, Any]


class Group(NamedTuple):
    """Items of one process.

    Attributes:
      environment: variables of the process that change its programs.
    """

    name: str
    items: list[Item]
    environment: Mapping[str, str] = {}


CARTPOLE = {"env": "CartPole-v1"}
BREAKOUT = {"env": "Breakout-MinAtar"}
# Large batches for one agent: the same numbers of gradient steps per update, with short rollouts.
WIDE = {"num_steps": 32}
REHEARSAL = {"num_envs": 4, "num_steps": 8, "hidden_sizes": (8,)}

WHILE = "--xla_gpu_enable_command_buffer=+WHILE"
NONE = "--xla_gpu_enable_command_buffer="


def plan(scratch: Path, out: Path, rehearse: bool) -> list[Group]:
    """All groups, in the order in which they are run.

    Args:
      scratch: a folder for states that one process saves and another reads.
      out: the folder of the results, for traces.
      rehearse: the same items in small sizes, which a CPU can run.
    """

    def speed(name, base, **settings):
        settings = {**base, **settings}
        if rehearse:
            settings |= REHEARSAL | {"agents": min(4, settings.get("agents", 1)), "seconds": 0.05}
        return Item(name, "speed", settings)

    def bits(base, part):
        name = base["env"].partition("-")[0].lower()
        sizes = REHEARSAL if rehearse else {"num_envs": 64}
        settings = {**base, **sizes, "folder": str(scratch / name), "part": part}
        return Item(f"bits/{name}/{part}", "bits", settings)

    def learn(name, env, steps):
        return Item(
            name, "learn", {"env": env, "steps": 2048 if rehearse else steps, "seeds": 2 if rehearse else 8}
        )

    def same(name, kind, base, **settings):
        sizes = REHEARSAL if rehearse else {"num_envs": 16}
        small = {"agents": 4} if rehearse and kind == "lane" else {}
        return Item(name, kind, {**base, **sizes, **settings, **small})

    one = speed("one/cartpole/8192", CARTPOLE, num_envs=8192, **WIDE)
    many = speed("agents/cartpole/2048", CARTPOLE, agents=2048, num_envs=4)
    games = speed("agents/breakout/256", BREAKOUT, agents=256, num_envs=64)
    main = [
        Item("facts", "facts", {}),
        one,
        many,
        games,
        bits(CARTPOLE, "whole"),
        bits(BREAKOUT, "whole"),
        same("lane/cartpole", "lane", CARTPOLE),
        same("cpu/cartpole", "agreement", CARTPOLE),
        same("cpu/breakout", "agreement", BREAKOUT),
    ]
    groups = [
        Group("default", main),
        Group("again", [bits(CARTPOLE, "rest"), bits(BREAKOUT, "rest")]),
        Group("no cache", [bits(CARTPOLE, "whole"), bits(BREAKOUT, "whole")], {"JAXRL_CACHE": "off"}),
    ]
    groups += [Group("learn", [learn("learn/cartpole", "CartPole-v1", 500_000)])]
    for name, environment in ladder().items():
        chosen = [one, many] if rehearse else [one, many, games]
        groups.append(Group(name, [i._replace(name=f"{name}/{i.name}") for i in chosen], environment))
    return [*groups, *_rest(speed, learn, out, rehearse)]


def ladder() -> dict[str, dict[str, str]]:
    """Settings beside the defaults, by name."""
    return {
        "command buffers with while": {"XLA_FLAGS": WHILE},
        "highest precision": {"JAX_DEFAULT_MATMUL_PRECISION": "highest"},
        "unroll 16": {"JAXRL_GPU_UNROLL": "16"},
        "unroll 2": {"JAXRL_GPU_UNROLL": "2"},
        "loop for advantages": {"JAXRL_GPU_ASSOCIATIVE": "0"},
        "4 MB of early values": {"JAXRL_GPU_EARLY_BYTES": str(2**22)},
        "bfloat16": {"JAX_DEFAULT_MATMUL_PRECISION": "bfloat16"},
        "no command buffers": {"XLA_FLAGS": NONE},
    }


def _rest(speed, learn, out, rehearse):
    one = [speed(f"one/cartpole/{n}", CARTPOLE, num_envs=n, **WIDE) for n in (2048, 16384, 65536)]
    one += [speed(f"one/breakout/{n}", BREAKOUT, num_envs=n, **WIDE) for n in (2048, 8192)]
    many = [speed(f"agents/cartpole/{n}", CARTPOLE, agents=n, num_envs=4) for n in (64, 512, 4096)]
    many += [speed(f"agents/breakout/{n}", BREAKOUT, agents=n, num_envs=64) for n in (16, 64)]
    many += [speed("sweep/cartpole/2048", CARTPOLE, agents=2048, num_envs=4, rates=True)]
    sizes = REHEARSAL if rehearse else {"num_envs": 8192, **WIDE}
    population = REHEARSAL | {"agents": 4} if rehearse else {"num_envs": 4, "agents": 1024}
    traces = [
        Item("trace/one", "trace", {**CARTPOLE, **sizes, "folder": str(out / "trace-one")}),
        Item("trace/agents", "trace", {**CARTPOLE, **population, "folder": str(out / "trace-agents")}),
    ]
    rest = [Group("traces", traces), Group("sizes", [one[0], many[0]] if rehearse else one + many)]
    return [*rest, Group("learn games", [learn("learn/breakout", "Breakout-MinAtar", 2_000_000)])]
