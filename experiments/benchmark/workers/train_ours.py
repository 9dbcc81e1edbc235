"""jaxrl's PPO: one agent or a population. Works with this tree's jaxrl and with older ones."""

from protocol import Contestant, jax_device, serve


def load():
    from jaxrl import envs, evaluate, train  # noqa: F401
    from jaxrl.algos import ppo  # noqa: F401


def prepare(algo, keys, hp, **axes):
    """A population ready for training, one agent for each key.

    Args:
      axes: hyperparameters that differ, a value for each agent.

    Returns:
      `(state, step)`; `step(state, n)` returns the state after `n` more updates, still being computed.
    """
    import jax

    from jaxrl import train

    spread = {"mesh": train.mesh(len(keys))} if hasattr(train, "mesh") else {}
    agents = train.population(algo, vary_hparams=bool(axes), **spread)
    hp = train.grid(hp, **axes) if axes else hp
    update = jax.jit(agents.update)
    state = jax.jit(agents.init)(keys, hp)
    program, zeros = train.program(update), train.no_totals(update, state, hp)
    return state, lambda state, n: program(state, zeros, hp, n)[0]


def keys(count, first=0):
    import jax
    import numpy as np

    return jax.vmap(jax.random.key)(np.arange(first, first + count))


def make(settings):
    import jax
    import numpy as np

    import jaxrl
    from jaxrl import envs, train
    from jaxrl.algos import ppo

    if hasattr(train, "use_cores"):
        train.use_cores()
    sizes, numbers = settings["sizes"], settings["numbers"]
    clip_eps = numbers["clip_eps"]
    given = {**sizes, "torso": "mlp", "activation": settings["activation"], "greedy": False}
    try:
        from jaxrl import fields

        config = fields.configured(ppo.Config(), given)
    except ImportError:  # an older version, to compare with
        config = ppo.Config(**given)
    env = envs.make(settings["env"])
    algo = ppo.make(env, config)
    hp = algo.hparams.replace(
        lr_decay=0.0,
        objective=algo.hparams.objective.replace(clip_eps=clip_eps),
        **{name: value for name, value in numbers.items() if name != "clip_eps"},
    )
    hp = jax.tree.map(lambda x: np.asarray(x, np.float32), hp)

    rates = settings.get("learning_rates")
    axes = {"learning_rate": np.asarray(rates, np.float32)} if rates else {}
    state, step = prepare(algo, keys(settings["agents"]), hp, **axes)

    def run(updates):
        nonlocal state
        state = jax.block_until_ready(step(state, updates))

    def learn(steps):
        fresh, go_on = prepare(algo, keys(settings["learn_seeds"], 1000), hp)
        fresh = go_on(fresh, -(-steps // algo.steps_per_update))
        return returns(env, algo, fresh, keys(settings["learn_seeds"], 5000), settings["eval_episodes"])

    return Contestant(
        run=run,
        steps_per_unit=algo.steps_per_update * settings["agents"],
        learn=learn,
        device=jax_device,
        source=jaxrl.__file__,
    )


def returns(env, algo, state, keys, episodes):
    """The mean return of each agent over `episodes` episodes with sampled actions."""
    from functools import partial

    import jax

    from jaxrl.evaluate import evaluate

    def one(state, key):
        return evaluate(env, partial(algo.act, state), state.stream.memory, key, episodes).returns.mean()

    return jax.jit(jax.vmap(one))(state, keys).tolist()


if __name__ == "__main__":
    serve(load, make)
