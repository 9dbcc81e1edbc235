"""jaxrl's DQN and SAC, one agent or a population, and draws from its replays."""

import drawing
from protocol import Contestant, jax_device, serve
from train_ours import keys, prepare, returns

WARM_UPDATES = 1_000  # after which nothing decays any more in timed runs


def load():
    from jaxrl import envs, evaluate, replay, train  # noqa: F401
    from jaxrl.algos import ALGORITHMS  # noqa: F401


def make(settings):
    return draws(settings) if settings["algorithm"] == "draw" else training(settings)


def configured(algorithm, settings):
    """The Config with the common sizes: one step of each environment per update."""
    from jaxrl import fields

    given = {**settings["sizes"], "num_steps": 1, "torso": "mlp", "activation": settings["activation"]}
    given |= {"layer_norm": False}
    if settings["algorithm"] == "dqn":
        given |= {"n_step": 1, "evaluation_epsilon": 0.005, "head": "squared"}
    return fields.configured(algorithm.Config(), given)


def training(settings):
    import jax
    import numpy as np

    import jaxrl
    from jaxrl import envs, train
    from jaxrl.algos import ALGORITHMS
    from jaxrl.names import lookup

    train.use_cores()
    algorithm = lookup("algorithm", ALGORITHMS, settings["algorithm"])
    env = envs.make(settings["env"])
    algo = algorithm.make(env, configured(algorithm, settings))
    hp = algo.hparams.replace(**settings["numbers"])
    if hasattr(hp, "lr_decay"):
        hp = hp.replace(lr_decay=0.0)

    def over(updates):
        """The hyperparameters of a run of this length."""
        given = hp.replace(total_updates=updates) if hasattr(hp, "total_updates") else hp
        return jax.tree.map(lambda x: np.asarray(x, np.float32), given)

    agents = settings["agents"]
    state, step = prepare(algo, keys(agents), over(WARM_UPDATES))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) // agents

    def run(updates):
        nonlocal state
        state = jax.block_until_ready(step(state, updates))

    def learn(steps):
        updates = -(-(steps - algo.warmup_steps) // algo.steps_per_update)
        fresh, go_on = prepare(algo, keys(settings["learn_seeds"], 1000), over(updates))
        fresh = go_on(fresh, updates)
        return returns(env, algo, fresh, keys(settings["learn_seeds"], 5000), settings["eval_episodes"])

    return Contestant(
        run=run,
        steps_per_unit=algo.steps_per_update * agents,
        gradient_steps_per_unit=settings["sizes"]["num_gradient_steps"] * agents,
        learn=learn,
        device=jax_device,
        agent_bytes=lambda: size,
        source=jaxrl.__file__,
    )


def draws(settings):
    """Draws from `jaxrl.replay.uniform` or `prioritized`."""
    import jax
    import jax.numpy as jnp

    import jaxrl
    from jaxrl import replay
    from jaxrl.types import Transition

    sizes = settings["sizes"]
    kind = replay.prioritized if settings["prioritized"] else replay.uniform
    obs, action = jax.ShapeDtypeStruct((4,), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32)
    memory = kind(obs, action, sizes["num_envs"], sizes["capacity"])

    def add(state, step, i):
        first, no = (i % drawing.EPISODE == 0) & (step.done | True), jnp.zeros_like(step.done)
        row = Transition(step.obs, first, (), step.action, (), step.next_obs, step.reward, step.done, no, {})
        return memory.add(state, jax.tree.map(lambda x: x[None], row))

    def draw(state, key):
        batch = memory.sample(state, memory.draw(key, (sizes["batch_size"],)), 0.99)
        if memory.reweigh:
            state = memory.reweigh(state, batch.row, 1.0 + batch.obs[:, 0] % 7.0)
        return state, batch

    return drawing.contestant(settings, jax.jit(memory.init)(), add, draw, jaxrl.__file__)


if __name__ == "__main__":
    serve(load, make)
