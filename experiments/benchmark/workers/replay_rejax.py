"""rejax's DQN and SAC, one agent or a population by `vmap`, and draws from its replay.

Trained as in its documentation, without evaluation, except that the state is donated: otherwise every call
would copy the replay. Differences that cannot be configured: gradients are clipped element by element, and a
truncation counts as a termination.

Its replay draws without replacement, by a permutation of the whole capacity for each batch. With `repaired`,
rows are drawn with replacement, by random integers.
"""

import math

import drawing
from protocol import Contestant, jax_device, serve
from train_rejax import FiveTuple, returns


def load():
    import gymnax  # noqa: F401
    import rejax  # noqa: F401


def make(settings):
    if settings["repaired"]:
        repair()
    return draws(settings) if settings["algorithm"] == "draw" else training(settings)


def repair():
    """Lets rejax draw with replacement."""
    import jax
    from rejax.buffers import ReplayBuffer

    def sample(self, num, rng):
        rows = jax.random.randint(rng, (num,), 0, self.num_entries)
        return jax.tree.map(lambda x: x[rows], self.data)

    ReplayBuffer.sample = sample


def algorithm(settings, env, env_params):
    import rejax

    sizes, numbers = settings["sizes"], settings["numbers"]
    common = {
        "env": env,
        "env_params": env_params,
        "num_envs": sizes["num_envs"],
        "num_epochs": sizes["num_gradient_steps"],
        "batch_size": sizes["batch_size"],
        "buffer_size": sizes["capacity"],
        "fill_buffer": sizes["warmup_steps"],
        "target_update_freq": sizes["num_envs"],
        "learning_rate": numbers["learning_rate"],
        "gamma": numbers["gamma"],
        "polyak": 1.0 - numbers["tau"],
        "agent_kwargs": {"activation": settings["activation"]},
        "skip_initial_evaluation": True,
    }
    if settings["algorithm"] == "sac":
        return rejax.SAC.create(**common)
    explored = {"exploration_fraction": numbers["exploration"], "max_grad_norm": numbers["max_grad_norm"]}
    return rejax.DQN.create(**common, **explored)


def training(settings):
    import gymnax
    import jax
    import rejax

    sizes, agents = settings["sizes"], settings["agents"]
    env, env_params = gymnax.make(settings["env"].removeprefix("gymnax/"))
    env = FiveTuple(env)
    base = algorithm(settings, env, env_params)

    def trainer(iterations):
        steps = iterations * sizes["num_envs"]
        return base.replace(total_timesteps=steps, eval_freq=steps, eval_callback=lambda *_: ())

    def over_agents(function):
        return jax.vmap(function) if agents > 1 else function

    @jax.jit
    def start(keys):
        return over_agents(trainer(1).init_state)(keys)

    def any_number(state, iterations):
        """As many iterations as are asked for, before their number is fixed."""
        step = over_agents(trainer(1).train_iteration)
        return jax.lax.fori_loop(0, iterations, lambda _, state: step(state), state)

    def fixed(iterations):
        def train(state):
            return trainer(iterations).train(train_state=state)[0]

        return jax.jit(over_agents(train), donate_argnums=0)

    calibrating = jax.jit(any_number, donate_argnums=0)
    keys = jax.vmap(jax.random.PRNGKey)(jax.numpy.arange(agents))
    state = start(keys if agents > 1 else keys[0])
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) // agents
    state = calibrating(state, sizes["warmup_steps"] // sizes["num_envs"] + 1)
    programs = {}

    def run(iterations):
        nonlocal state
        if iterations in programs:
            state = jax.block_until_ready(programs[iterations](state))
        else:
            state = jax.block_until_ready(calibrating(state, iterations))

    def settle(iterations):
        programs[iterations] = fixed(iterations)
        run(iterations)

    def learn(steps):
        return returns(trainer(math.ceil(steps / sizes["num_envs"])), env, env_params, settings)

    return Contestant(
        run=run,
        steps_per_unit=sizes["num_envs"] * agents,
        gradient_steps_per_unit=sizes["num_gradient_steps"] * agents,
        learn=learn,
        settle=settle,
        device=jax_device,
        agent_bytes=lambda: size,
        source=rejax.__file__,
        notes=NOTES[settings["repaired"]],
    )


NOTES = {
    False: "gymnax through a shim; draws without replacement; a truncation is a termination",
    True: "as rejax, but rows are drawn by random integers",
}


def draws(settings):
    """Draws from rejax's replay."""
    import gymnax
    import jax
    import rejax
    from rejax.buffers import Minibatch, ReplayBuffer

    env, env_params = gymnax.make(settings["env"])
    sizes = settings["sizes"]
    spaces = env.observation_space(env_params), env.action_space(env_params)
    buffer = jax.tree.map(jax.numpy.asarray, ReplayBuffer.empty(sizes["capacity"], *spaces))

    def add(buffer, step, i):
        del i
        return buffer.extend(Minibatch(**step._asdict()))

    def draw(buffer, key):
        return buffer, buffer.sample(sizes["batch_size"], key)

    return drawing.contestant(settings, buffer, add, draw, rejax.__file__)


if __name__ == "__main__":
    serve(load, make)
