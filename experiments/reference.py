"""Reference returns of environments, which define normalized scores of 0 and 1.

A normalized score is `(return - random) / (tuned_ppo - random)`: 0 is the uniformly random policy, 1 is PPO
with the preset of the environment. Both are measured once and stored in `results/reference_scores.json`, so
that a score does not depend on the other methods on the same page.

    python -m jaxrl.experiments.reference CartPole-v1 [ENV ...]

measures the random policy and prints a line of JSON for each environment. PPO's return is from
`jaxrl train ppo ENV` and `jaxrl evaluate`, as in docs/results.md.
"""

import json
import sys
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

FILE = Path(__file__).parent / "results" / "reference_scores.json"
EPISODES = 1000
MAX_STEPS = {"CliffWalking-v1": 1000}  # a random walk rarely reaches the goal, so it is truncated


@lru_cache(maxsize=1)
def ranges() -> dict[str, tuple[float, float]]:
    """For each environment with references the returns scaled to 0 and 1: of a random policy and tuned PPO.

    They are valid only for the environment's default parameters.
    """
    known = json.loads(FILE.read_text())["environments"]
    return {name: (one["random"]["mean"], one["tuned_ppo"]["iqm"]) for name, one in known.items()}


def random_return(environment: str, episodes: int = EPISODES, seed: int = 0) -> dict[str, float | int]:
    """Mean return of uniformly random actions (valid ones, if there is a mask) and its standard error."""
    from jaxrl import envs, spaces
    from jaxrl.evaluate import evaluate

    env = envs.make(environment)

    def act(memory, key, obs, first, action_mask=None):
        del first
        keys = jax.random.split(key, jax.tree.leaves(obs)[0].shape[0])
        if action_mask is not None:
            logits = jnp.where(action_mask, 0.0, -jnp.inf)
            return memory, jax.vmap(jax.random.categorical)(keys, logits)
        return memory, jax.vmap(lambda one_key: spaces.sample(env.action_space, one_key))(keys)

    most = MAX_STEPS.get(environment, 100_000)
    play = jax.jit(lambda key: evaluate(env, act, (), key, episodes, most))
    played = play(jax.random.key(seed))
    returns = np.asarray(played.returns, np.float64)
    error = float(returns.std(ddof=1) / len(returns) ** 0.5)
    summary = {"mean": float(returns.mean()), "standard_error": error, "episodes": episodes, "seed": seed}
    return summary | {"max_steps": most, "unfinished": int((~np.asarray(played.finished)).sum())}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps({"environment": name, "random": random_return(name)}), flush=True)
