"""`jaxrl render RUN`: an episode as a GIF, or for environments of brax as a web page."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from jaxrl import envs, memory, sources
from jaxrl.envs import wrappers
from jaxrl.experiments import folders, options, runs, studies
from jaxrl.experiments.runs.load import load


def command(argv: list[str]) -> int:
    """Writes the file and prints its path. Returns the exit status."""

    @dataclasses.dataclass
    class Render:
        """An episode by the trained policy: a GIF, or for environments of brax a web page."""

        run: Annotated[Path, options.positional()]  # folder of the run, or of a sweep for its winner
        seed: int | None = None  # agent to show; otherwise the one of median return
        out: Path | None = None  # .gif, or .html for brax; otherwise episode.gif or .html in the run
        max_steps: int = 500  # the longest episode to show
        best: bool = False  # the best saved checkpoint instead of the last

    chosen = options.parse(Render, argv, "jaxrl render")
    who = studies.agents_of(chosen.run)
    shown = chosen.seed, chosen.max_steps, chosen.best
    print(render(who.folder, chosen.out, *shown, lanes=who.lanes, where=chosen.run))
    return 0


def render(
    path: Path,
    out: Path | None,
    seed: int | None,
    max_steps: int,
    best: bool,
    lanes: Sequence[int] | None = None,
    where: Path | None = None,
) -> str:
    """Renders an episode of one of a run's agents: a GIF, or for brax a web page. Returns a message.

    Args:
      lanes: of the agents to choose from, one for each seed; None: all agents of the run.
      where: the folder of the file if `out` is None; None: that of the run.
    """
    from jaxrl.envs import render as drawing

    if max_steps < 1:
        raise ValueError(f"max_steps = {max_steps} must be at least 1")
    name = runs.from_json(runs.read_info(path)["spec"]).environment
    as_page = name.startswith("brax/")
    suffix = ".html" if as_page else ".gif"
    out = out or (where or path) / f"episode{suffix}"
    if out.suffix.lower() != suffix:
        kind = "a web page of brax's viewer" if as_page else "a GIF"
        text = f"{sources.shown(name)} is shown as {kind}, so the name of the file must end in {suffix}"
        raise ValueError(f"{out}: {text}")
    folders.require_output(out)
    spec, programs, at = load(path, best)
    # The agents of a group of trials are numbered, all seeds of the first trial first.
    numbered = spec.slots > 1 and lanes is None
    lanes = range(spec.agents) if lanes is None else lanes
    seeds = list(lanes) if numbered else [spec.seed + lane % spec.seeds for lane in lanes]
    if seed is None:
        keys = runs.evaluation_keys(spec, at.num_updates, domain=2)
        means = np.asarray(programs.evaluate(at.state, keys).returns)[np.array(lanes)].mean(axis=1)
        seed = seeds[int(np.argsort(means)[(len(means) - 1) // 2])]
    if seed not in seeds:
        raise ValueError(f"the run has no seed {seed}: its seeds are {seeds[0]} to {seeds[-1]}")
    lane = lanes[seeds.index(seed)]
    state = jax.tree.map(lambda x: x[lane], programs.agents(at.state))
    spec = dataclasses.replace(spec, env=spec.env_of(lane))
    algo = runs.make(spec, envs.make(name, **spec.env))
    bare, params = _environment(spec)
    shown: list[Any] = []
    total, available = 0.0, memory.on_machine()
    for env_state, now in _episode(spec, bare, partial(algo.act, state), state.stream.memory, max_steps):
        total += float(now.reward)
        needs = {"--max-steps": (len(shown) + 1) * memory.num_bytes(shown[-1] if shown else ())}
        memory.require(f"{len(shown) + 1} frames", needs, available)
        if as_page:
            shown.append(jax.device_get(env_state))
            continue
        # An auto-resetting environment would show the start of the next episode after the end of this one.
        if not (envs.REGISTRY[name].wrapped and shown and now.done):
            frame = drawing.frame(name, env_state, now.obs, params)
        shown.append(drawing.caption(frame, f"step {len(shown)}   return {total:.4g}"))
    steps = len(shown) - 1
    if as_page:
        folders.write_output(out, drawing.page(name, shown, params))
    else:
        # Short episodes are slowed down to four seconds, and the last frame is shown for longer.
        fps = min(30, max(3, len(shown) / 4))
        drawing.write_gif(out, shown + shown[-1:] * round(0.7 * fps), fps)
    return f"{out}: seed {seed}, {steps} steps, return {total:.4g}"


def _environment(spec):
    """The run's environment without auto-reset, so that the end of an episode is visible; its parameters."""
    entry = envs.REGISTRY[spec.environment]
    if entry.wrapped:
        return envs.make(spec.environment, **spec.env), spec.env
    params = {name: value for name, value in spec.env.items() if name not in ("max_steps", "resets")}
    default = entry.limit(**params) if entry.limit else entry.max_steps
    return wrappers.time_limit(entry.make(**params), spec.env.get("max_steps", default)), params


def _episode(spec, env, act, memory, max_steps):
    """Plays an episode on the host, in an environment without auto-reset: every state with its TimeStep."""
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    act = jax.jit(act)
    key, reset_key = jax.random.split(runs.evaluation_keys(spec, 0, domain=3)[0])
    env_state, now = reset(reset_key)
    memory = jax.tree.map(lambda m: np.zeros((1, *m.shape[1:]), m.dtype), memory)
    yield env_state, now
    for _ in range(max_steps):
        key, act_key, env_key = jax.random.split(key, 3)
        one = jax.tree.map(lambda x: x[None], now)
        memory, action = act(memory, act_key, one.obs, one.first, one.info.get("action_mask"))
        env_state, now = step(env_key, env_state, jax.tree.map(lambda a: a[0], action))
        yield env_state, now
        if bool(now.done):
            return
