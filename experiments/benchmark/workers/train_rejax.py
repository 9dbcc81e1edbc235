"""rejax's PPO, one agent or a population by `vmap`, trained as in its documentation.

Its evaluation is disabled, so that only training is timed. Differences that cannot be configured: gradients
are clipped element by element, and the value loss is always clipped.
XLA's thread pool is not changed: rejax initializes its networks without QR decompositions, so that
populations do not deadlock on few cores (docs/thread_pool.md), and a larger pool would cost a third of its
speed.
"""

import math

from protocol import Contestant, jax_device, serve


def load():
    import gymnax  # noqa: F401
    import rejax  # noqa: F401


class FiveTuple:
    """A gymnax 1.0 environment whose `step` returns a single `done`, as rejax expects."""

    def __init__(self, env):
        self.env = env
        self.name = env.name
        self.default_params = env.default_params
        self.action_space = env.action_space
        self.observation_space = env.observation_space
        self.reset = env.reset

    def step(self, key, state, action, params):
        obs, state, reward, terminated, truncated, _ = self.env.step(key, state, action, params)
        return obs, state, reward, terminated | truncated, {}

    def __deepcopy__(self, memo):  # rejax copies its configuration
        return self


def make(settings):
    import gymnax
    import jax
    import rejax

    sizes, numbers, agents = settings["sizes"], settings["numbers"], settings["agents"]
    env, env_params = gymnax.make(settings["env"].removeprefix("gymnax/"))
    env = FiveTuple(env)
    iteration = sizes["num_envs"] * sizes["num_steps"]
    ppo = rejax.PPO.create(
        env=env,
        env_params=env_params,
        agent_kwargs={
            "activation": settings["activation"],
            "hidden_layer_sizes": tuple(sizes["hidden_sizes"]),
        },
        **{name: sizes[name] for name in ("num_envs", "num_steps", "num_epochs", "num_minibatches")},
        **numbers,
        skip_initial_evaluation=True,
    )

    def trainer(iterations):
        """`ppo` configured to train for `iterations`, without interruption or evaluation."""
        steps = iterations * iteration
        return ppo.replace(total_timesteps=steps, eval_freq=steps, eval_callback=lambda *_: ())

    def over_agents(function):
        return jax.jit(jax.vmap(function) if agents > 1 else function)

    def program(iterations):
        return over_agents(lambda state: trainer(iterations).train(train_state=state)[0])

    if rates := settings.get("learning_rates"):
        return sweep(settings, trainer, jax.numpy.asarray(rates))

    keys = jax.vmap(jax.random.PRNGKey)(jax.numpy.arange(agents))
    state = over_agents(trainer(1).init_state)(keys if agents > 1 else keys[0])
    programs = {1: program(1)}

    def run(iterations):
        nonlocal state
        if iterations in programs:
            state = jax.block_until_ready(programs[iterations](state))
            return
        for _ in range(iterations):  # during the calibration of a repeat
            state = programs[1](state)
        jax.block_until_ready(state)

    def settle(iterations):
        programs[iterations] = programs.get(iterations) or program(iterations)
        run(iterations)

    def learn(steps):
        return returns(trainer(math.ceil(steps / iteration)), env, env_params, settings)

    return Contestant(
        run=run,
        steps_per_unit=iteration * agents,
        learn=learn,
        settle=settle,
        device=jax_device,
        source=rejax.__file__,
        notes="gymnax through a shim; gradients clipped element by element; clipped value loss",
    )


def returns(algo, env, env_params, settings):
    """The mean evaluation return of each of new agents, which are trained as `algo` is configured."""
    import jax
    from rejax.evaluate import evaluate

    limit = env_params.max_steps_in_episode

    def one(key, eval_key):
        state, _ = algo.train(rng=key)
        act = algo.make_act(state)
        return evaluate(act, eval_key, env, env_params, settings["eval_episodes"], limit)[1].mean()

    seeds = jax.numpy.arange(settings["learn_seeds"])
    return jax.jit(jax.vmap(one))(*(jax.vmap(jax.random.PRNGKey)(seeds + n) for n in (1000, 5000)))


def sweep(settings, trainer, rates):
    """The population with different learning rates, which rejax trains from the start each time."""
    import jax
    import rejax

    keys = jax.vmap(jax.random.PRNGKey)(jax.numpy.arange(len(rates)))
    programs = {}

    def program(iterations):
        def one(key, rate):
            state, _ = trainer(iterations).replace(learning_rate=rate).train(rng=key)
            return state.actor_ts.params

        return jax.jit(jax.vmap(one))

    def run(iterations):
        for count in [iterations] if iterations in programs else [1] * iterations:
            programs[count] = programs.get(count) or program(count)
            jax.block_until_ready(programs[count](keys, rates))

    def settle(iterations):
        programs[iterations] = programs.get(iterations) or program(iterations)
        run(iterations)

    return Contestant(
        run=run,
        steps_per_unit=settings["sizes"]["num_envs"] * settings["sizes"]["num_steps"] * len(rates),
        settle=settle,
        device=jax_device,
        source=rejax.__file__,
        notes="each repeat begins with fresh agents; otherwise as above",
    )


if __name__ == "__main__":
    serve(load, make)
