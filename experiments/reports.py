"""The commands on existing runs: evaluation and rendering; and lists of algorithms, environments, ..."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxrl import envs, logger, loop, objectives, records, sources, train
from jaxrl.algos import ALGORITHMS
from jaxrl.envs import wrappers
from jaxrl.experiments import diverged, folders, runs
from jaxrl.experiments.presets import PRESETS
from jaxrl.experiments.runs.load import load
from jaxrl.names import lookup, nearest
from jaxrl.programs import Programs
from jaxrl.statistics import bootstrap_interval, iqm


def evaluation(path: Path, episodes: int, best: bool, as_json: bool) -> str:
    """Returns over `episodes` new episodes of each seed, as text or as one JSON object.

    Agents that diverged count as the worst of the others, whatever their returns are: with discrete actions
    the argmax of NaN is a valid action. There is no score if at least half of them diverged.
    """
    if episodes < 1:
        raise ValueError(f"episodes = {episodes} must be at least 1")
    spec, programs, at = load(path, best)
    lost = _diverged(path, spec, programs, at)
    spec = dataclasses.replace(spec, eval_episodes=episodes)
    keys = runs.evaluation_keys(spec, at.num_updates, domain=1)
    result = runs.build(spec).evaluate(at.state, keys)
    returns = np.asarray(result.returns, np.float64)[: spec.agents]
    agents = {"per_seed": returns.mean(axis=1).tolist(), "died": lost}
    least = np.nan if diverged.unknown([agents]) else diverged.worst([agents])
    per_seed = np.array(diverged.counted(agents, least) or [np.nan] * spec.agents)
    # Episodes of one agent are correlated: with several agents the interval is over agents.
    sample = per_seed if spec.agents > 1 or lost else returns[0]
    low, high = bootstrap_interval(sample, iqm) if len(sample) > 1 else (np.nan, np.nan)
    summary = {
        "mean": float(sample.mean()),
        "median": float(np.median(sample)),
        "iqm": float(iqm(sample)),
        "interval": [float(low), float(high)],
        "episodes": int(returns.size),
        "per_seed": [np.nan if x is None else x for x in diverged.known(agents)],
        "unfinished": int((~np.asarray(result.finished)[: spec.agents]).sum()),
        "num_updates": at.num_updates,
    }
    if lost:
        summary["diverged"] = lost if spec.slots > 1 else [spec.seed + lane for lane in lost]
    if as_json:
        return json.dumps({name: logger.finite(value) for name, value in summary.items()})
    each = ["diverged" if x is None else f"{x:.4g}" for x in diverged.known(agents)]
    kind = "agents" if spec.slots > 1 else "seeds"
    over = f"{spec.agents} {kind}" if spec.agents > 1 else "episodes of one seed"
    finished = np.asarray(result.finished)[: spec.agents]
    unfinished = ""
    if not finished.all():
        steps = int(np.asarray(result.lengths)[: spec.agents][~finished].max())
        unfinished = (
            f"\n{summary['unfinished']} of {summary['episodes']} episodes had not ended after {steps} steps: "
            "their returns until then are counted; give a new run a time limit, as --env.max-steps 1000"
        )
    return (
        f"{sources.shown(f'{spec.algorithm} on {spec.environment}')} after {at.num_updates} updates, "
        f"{episodes} episodes of each seed\n"
        f"IQM {summary['iqm']:.4g} (95 % bootstrap interval over {over}: {low:.4g} to {high:.4g})   "
        f"mean {summary['mean']:.4g}   median {summary['median']:.4g}\n"
        f"per seed: {'  '.join(each)}{unfinished}"
    )


def _diverged(path: Path, spec: runs.Spec, programs: Programs, at: loop.Position) -> list[int]:
    """The lanes of agents that had diverged at a position, by their parameters and by the rows until then."""
    rows = [row for row in records.rows(path) if row["num_updates"] <= at.num_updates]
    lanes = set(records.first_diverged(rows))
    params = getattr(programs.agents(at.state), "params", ())
    if jax.tree.leaves(params):
        broken = jax.jit(jax.vmap(lambda params_of_agent: train.diverged(params_of_agent, {})))(params)
        lanes |= set(np.flatnonzero(np.asarray(broken)[: spec.agents]).tolist())
    return sorted(lanes)


def render(path: Path, out: Path | None, seed: int | None, max_steps: int, best: bool) -> str:
    """Renders an episode of one of a run's agents: a GIF, or for brax a web page. Returns a message."""
    from jaxrl.envs import render as drawing

    if max_steps < 1:
        raise ValueError(f"max_steps = {max_steps} must be at least 1")
    name = runs.from_json(runs.read_info(path)["spec"]).environment
    as_page = name.startswith("brax/")
    suffix = ".html" if as_page else ".gif"
    out = out or path / f"episode{suffix}"
    if out.suffix.lower() != suffix:
        kind = "a web page of brax's viewer" if as_page else "a GIF"
        text = f"{sources.shown(name)} is shown as {kind}, so the name of the file must end in {suffix}"
        raise ValueError(f"{out}: {text}")
    folders.require_output(out)
    spec, programs, at = load(path, best)
    # The agents of a sweep are numbered, all seeds of the first trial first.
    seeds = range(spec.agents) if spec.slots > 1 else range(spec.seed, spec.seed + spec.seeds)
    if seed is None:
        keys = runs.evaluation_keys(spec, at.num_updates, domain=2)
        means = np.asarray(programs.evaluate(at.state, keys).returns)[: spec.agents].mean(axis=1)
        seed = seeds[int(np.argsort(means)[(len(means) - 1) // 2])]
    if seed not in seeds:
        raise ValueError(f"the run has no seed {seed}: its seeds are {seeds[0]} to {seeds[-1]}")
    lane = seeds.index(seed)
    state = jax.tree.map(lambda x: x[lane], programs.agents(at.state))
    spec = dataclasses.replace(spec, env=spec.env_of(lane))
    algo = runs.make(spec, envs.make(name, **spec.env))
    bare, params = _environment(spec)
    shown, total = [], 0.0
    for env_state, now in _episode(spec, bare, partial(algo.act, state), state.stream.memory, max_steps):
        total += float(now.reward)
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


def list_algos() -> str:
    return "\n".join(f"{name:8s} {_first_line(module)}" for name, module in ALGORITHMS.items())


def list_envs() -> str:
    width = max(map(len, envs.REGISTRY))

    def line(name, entry):
        how = "" if entry.checked == "solved exactly" else "verified against "
        verified = f"{how}{entry.checked}" if entry.checked else ""
        return f"{name:{width}s}  {entry.origin:10s}  {verified}".rstrip()

    return "\n".join(line(*item) for item in sorted(envs.REGISTRY.items()))


def list_objectives() -> str:
    width = max(map(len, objectives.OBJECTIVES))
    return "\n".join(f"{name:{width}s} {_first_line(make)}" for name, make in objectives.OBJECTIVES.items())


def list_presets() -> str:
    return "\n".join(
        f"{algo} {env}: {preset.steps} steps, "
        + ", ".join(f"{k} {v}" for k, v in {**preset.config, **preset.hparams}.items())
        for (algo, env), preset in sorted(PRESETS.items())
    )


def list_all() -> str:
    parts = [f"{name}\n{make()}" for name, make in LISTS.items() if name != "all"]
    return "\n\n".join(parts)


def listed(what: str, word: str = "") -> str:
    """One of `LISTS`, or only its lines that contain a word, ignoring case."""
    text = lookup("list", LISTS, what)()
    lines = [line for line in text.splitlines() if word.lower() in line.lower()]
    if word and not lines:
        known = [line.split()[0] for line in text.splitlines() if line]
        raise ValueError(f"no line of `jaxrl list {what}` contains {word!r}; {nearest(word, known)}")
    return "\n".join(lines) if word else text


def _first_line(thing) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


LISTS = {
    "algos": list_algos,
    "envs": list_envs,
    "objectives": list_objectives,
    "presets": list_presets,
    "all": list_all,
}
