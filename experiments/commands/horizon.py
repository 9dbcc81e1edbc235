"""`jaxrl horizon ENV`: the effective horizon of an environment, from its table or by sampled episodes."""

import dataclasses
import json
import math
from typing import Annotated, Any

import jax
from flax import linen as nn

from jaxrl import encoding, horizon, logger, lookahead, networks, sqirl
from jaxrl.envs import REGISTRY, tables
from jaxrl.envs.worlds import tabular
from jaxrl.experiments import options, spec_options, user_files
from jaxrl.names import lookup
from jaxrl.train import use_cores
from jaxrl.types import Env

NEAR = 0.95  # of the way from the random policy's return to the optimal one
# A^H for the effective horizon H of such a return; docs/horizon.md has what was measured on either side.
EASY, HARD = 1e4, 1e7


def command(argv: list[str]) -> int:
    """`jaxrl horizon ENV [OPTIONS]`."""
    known = bool(argv) and not argv[0].startswith("-")
    if not known and argv != [options.DESCRIBE] and not {"-h", "--help"} & set(argv):
        raise options.UsageError("horizon needs an environment: jaxrl horizon world/chain")
    kind = horizon_options(user_files.environment(argv[0]) if known else "")
    chosen = options.parse(kind, options.with_full_flags(argv, kind()), "jaxrl horizon")
    use_cores(quiet=True)
    limited = options.value_of("--env.max-steps", argv, "")
    given = spec_options.given_parameters(chosen.env, bool(limited)) if known else {}
    found = measure(user_files.environment(argv[0]), given, chosen)
    print(json.dumps(found) if chosen.json else text(found))
    return 0


def horizon_options(name: str) -> type:
    """The options of the command, with the parameters of the environment `name` if it is not empty."""
    of_environment = spec_options.environment_options(name) if name else options.hidden(str)
    default = of_environment() if name else ""

    @dataclasses.dataclass
    class Horizon:
        """The effective horizon of an environment with few states, and what it predicts for PPO and DQN.

        With --target, also of larger ones: an estimate by playing GORP or SQIRL.
        """

        environment: Annotated[str, options.positional()] = name  # see `jaxrl list envs`, or a file
        gamma: float = 1.0  # discount per step; the papers have none
        max_k: int = horizon.MOST_K  # how many values of k to try
        episodes: int = 0  # also play SQIRL with so many episodes per time step; 0: do not
        target: float | None = None  # also estimate it by sampled episodes: the return to reach
        budget: int = 1_000_000  # of the estimate: environment steps of a run
        runs: int = 5  # of the estimate; their median return counts
        estimate_k: int = 4  # of the estimate: how many values of k to try, if the budget suffices
        seed: int = 0  # of SQIRL and of the estimate
        json: bool = False  # print one JSON object
        env: of_environment = default  # parameters of the environment

    return Horizon


def measure(name: str, given: dict[str, Any], chosen) -> dict[str, Any]:
    """The effective horizon of a registered environment with these parameters, as plain numbers.

    Raises:
      ValueError: the environment has no table, or episodes that never end.
    """
    if not 0.0 <= chosen.gamma <= 1.0:
        raise ValueError(f"gamma = {chosen.gamma} must lie between 0 and 1")
    if chosen.episodes < 0:
        raise ValueError(f"episodes = {chosen.episodes} must be at least 0")
    params = {key: value for key, value in given.items() if key not in ("max_steps", "resets")}
    try:
        mdp = tables.table(name, **params)
    except tables.NoTable as error:
        if chosen.target is None:
            raise ValueError(f"{error}; --target RETURN estimates the horizon by sampled episodes") from None
        return _sampled(name, params, given, chosen)
    steps = steps_of(name, mdp, params, given)
    its, near = horizon.exactly(mdp, steps, NEAR, chosen.gamma, chosen.max_k)
    num_states, num_actions = mdp.reward.shape[:2]
    result = {
        "environment": name,
        "states": int(num_states - mdp.terminal.sum()),
        "actions": num_actions,
        "horizon": steps,
        "deterministic": not math.isnan(its.gorp_horizon),
        "random_return": float(its.random_return),
        "optimal_return": float(its.optimal_return),
        "k": int(its.k) or None,
        "looked_at_k": int(its.looked.sum()),
        "effective_horizon": logger.finite(float(its.effective_horizon)),
        "gorp_horizon": logger.finite(float(its.gorp_horizon)),
        "near_optimal_k": int(near.k) or None,
        "near_optimal_horizon": logger.finite(float(near.effective_horizon)),
        "prediction": predicted(float(near.effective_horizon), num_actions),
    }
    if chosen.episodes:
        result["sqirl"] = played(mdp, steps, int(its.k) or 1, chosen)
    if chosen.target is not None:
        regression = sqirl.tabular(num_states, num_actions)
        env = tabular.env(mdp, "index")
        result["estimate"] = estimated(env, regression, steps, result["deterministic"], chosen)
    return result


def _sampled(name: str, params: dict[str, Any], given: dict[str, Any], chosen) -> dict[str, Any]:
    """The same for an environment without a table: an estimate only."""
    env, steps = lookup("environment", REGISTRY, name).make(**params), steps_of(name, None, params, given)
    deterministic = lookahead.is_deterministic(jax.random.key(chosen.seed), env, steps)
    torso = nn.Sequential(
        [lambda obs: encoding.encode(env.observation_space, obs), networks.MLP((64, 64), "relu")]
    )
    num_actions = sqirl.num_actions_of(env)
    return {
        "environment": name,
        "actions": num_actions,
        "horizon": steps,
        "deterministic": deterministic,
        "estimate": estimated(env, sqirl.network(torso, num_actions), steps, deterministic, chosen),
    }


def estimated(
    env: Env, regression: sqirl.Regression, steps: int, deterministic: bool, chosen
) -> dict[str, Any]:
    """With which k and how many episodes GORP, or SQIRL in a random environment, reaches the target."""
    if deterministic:
        learn, cost, far = lookahead.by_gorp(env, steps, chosen.gamma)
    else:
        learn, cost, far = lookahead.by_sqirl(env, regression, steps, chosen.gamma)
    arguments = chosen.target, min(chosen.estimate_k, steps), chosen.budget, chosen.runs
    found = lookahead.search(jax.random.key(chosen.seed), learn, cost, *arguments)
    best = found.best()
    shown = found.reached[0] if found.reached else best
    return {
        "method": "GORP" if deterministic else "SQIRL",
        "target": chosen.target,
        "reached": bool(found.reached),
        "k": shown.k,
        "episodes": shown.episodes,
        "steps": shown.steps,
        "return": shown.median_return,
        "looked_at_k": found.trials[-1].k,
        "effective_horizon": min(map(far, found.reached), default=None),
        "effective_horizon_at_k": min(found.reached, key=far).k if found.reached else None,
        "budget": chosen.budget,
    }


def steps_of(name: str, mdp: tabular.Tabular | None, params: dict[str, Any], given: dict[str, Any]) -> int:
    """The steps that count: the time limit, or the longest episode if there is none."""
    entry = lookup("environment", REGISTRY, name)
    default = entry.limit(**params) if entry.limit else entry.max_steps
    steps = given.get("max_steps", default) or (tables.longest_episode(mdp) if mdp else None)
    if not steps:
        raise ValueError(f"episodes of {name} may never end: give --env.max-steps the steps that count")
    return int(steps)


def predicted(effective_horizon: float, num_actions: int) -> str:
    """What the effective horizon of a near-optimal return says about PPO and DQN, in a sentence."""
    most = effective_horizon * math.log10(max(num_actions, 2))
    if most <= math.log10(EASY):
        return "easy: random exploration shows what to do, so PPO and DQN should learn it quickly"
    if most <= math.log10(HARD):
        return "moderate: DQN should learn it in time, PPO perhaps not"
    return "hard: random exploration hardly shows what to do; PPO is likely to fail, and DQN may"


def played(mdp: tabular.Tabular, steps: int, k: int, chosen) -> dict[str, Any]:
    """The exact return of the policy that SQIRL learns in the simulated table, and the steps it took."""
    env = tabular.env(mdp, "index")
    num_states, num_actions = mdp.reward.shape[:2]
    regression = sqirl.tabular(num_states, num_actions)
    arguments = env, regression, steps, k, chosen.episodes, chosen.gamma
    learned = jax.jit(lambda key: sqirl.sqirl(key, *arguments))(jax.random.key(chosen.seed))
    return {
        "k": k,
        "return": float(tabular.plan_return(mdp, learned.params.argmax(axis=2), chosen.gamma)),
        "steps": int(learned.steps),
    }


def text(found: dict[str, Any]) -> str:
    """The report of `measure` for a terminal."""
    kind = "deterministic" if found["deterministic"] else "stochastic"
    states = f"{found['states']} states, " if "states" in found else ""
    sizes = f"{states}{found['actions']} actions, {found['horizon']} steps, {kind}"
    lines = {found["environment"]: sizes}
    if "states" in found:
        lines |= _of_table(found)
    if its := found.get("sqirl"):
        lines["SQIRL"] = f"return {its['return']:.4g} with k = {its['k']} after {its['steps']} steps"
    if its := found.get("estimate"):
        lines["estimate"] = _of_estimate(its)
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}s}  {value}" for name, value in lines.items())


def _of_table(found):
    returns = found["random_return"], found["optimal_return"]
    lines = {
        "return": "{:.4g} of the random policy, {:.4g} at best".format(*returns),
        "optimal": _lookahead(found["k"], found["effective_horizon"], found["looked_at_k"]),
        f"{NEAR:.0%} of it": _lookahead(
            found["near_optimal_k"], found["near_optimal_horizon"], found["looked_at_k"]
        ),
    }
    if found["gorp_horizon"] is not None:
        lines["by GORP"] = f"effective horizon {found['gorp_horizon']:.1f}"
    return lines | {"prediction": found["prediction"]}


def _of_estimate(its):
    with_k = f"k = {its['k']} and m = {its['episodes']} episodes"
    if its["reached"]:
        return (
            f"{its['method']} reaches {its['return']:.4g} with {with_k}, {its['steps']:,} steps; effective "
            f"horizon {its['effective_horizon']:.1f}, with k = {its['effective_horizon_at_k']}"
        )
    return (
        f"{its['method']} does not reach {its['target']:.4g} with k up to {its['looked_at_k']} within "
        f"{its['budget']:,} steps: at best {its['return']:.4g}, with {with_k}; give a larger --budget or "
        "--estimate-k, or a lower --target"
    )


def _lookahead(k: int | None, effective_horizon: float | None, looked: int) -> str:
    if k is None:
        return (
            f"not by acting greedily in the random policy's values, nor after {looked - 1} iterations of them"
        )
    after = (
        "in the random policy's values"
        if k == 1
        else f"after {k - 1} iterations of the random policy's values"
    )
    return f"k = {k}, by acting greedily {after}; effective horizon {effective_horizon:.1f}"
