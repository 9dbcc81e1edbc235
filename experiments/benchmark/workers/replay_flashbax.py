"""A plain loop around flashbax: double DQN in gymnax with its flat buffer, and draws from its flat buffers.

The loop is written as users of flashbax write it. A truncation counts as a termination, because gymnax
replaces the last observation by that of the next episode.
"""

import drawing
from protocol import Contestant, jax_device, serve


def load():
    import flashbax  # noqa: F401
    import gymnax  # noqa: F401


def make(settings):
    return draws(settings) if settings["algorithm"] == "draw" else training(settings)


def training(settings):
    import flashbax
    import flax.linen as nn
    import gymnax
    import jax
    import jax.numpy as jnp
    import optax

    sizes, numbers, agents = settings["sizes"], settings["numbers"], settings["agents"]
    num_envs = sizes["num_envs"]
    env, params = gymnax.make(settings["env"].removeprefix("gymnax/"))
    num_actions = env.action_space(params).n
    reset, step = jax.vmap(env.reset, (0, None)), jax.vmap(env.step, (0, 0, 0, None))
    buffer = flashbax.make_flat_buffer(
        max_length=sizes["capacity"],
        min_length=sizes["batch_size"],
        sample_batch_size=sizes["batch_size"],
        add_batch_size=num_envs,
    )

    class Network(nn.Module):
        @nn.compact
        def __call__(self, obs):
            x = obs.reshape(obs.shape[0], -1)
            for units in sizes["hidden_sizes"]:
                x = getattr(nn, settings["activation"])(nn.Dense(units)(x))
            return nn.Dense(num_actions)(x)

    network = Network()
    adam = optax.adam(numbers["learning_rate"])
    optimizer = optax.chain(optax.clip_by_global_norm(numbers["max_grad_norm"]), adam)

    def act(weights, obs, key, epsilon):
        random_key, action_key = jax.random.split(key)
        actions = jax.random.randint(action_key, obs.shape[:1], 0, num_actions)
        at_random = jax.random.uniform(random_key, obs.shape[:1]) < epsilon
        return jnp.where(at_random, actions, network.apply(weights, obs).argmax(-1))

    def collect(key, weights, obs, env_state, rows, epsilon):
        act_key, env_key = jax.random.split(key)
        action = act(weights, obs, act_key, epsilon)
        keys = jax.random.split(env_key, num_envs)
        next_obs, env_state, reward, terminated, truncated, _ = step(keys, env_state, action, params)
        done = terminated | truncated
        rows = buffer.add(rows, {"obs": obs, "action": action, "reward": reward, "done": done})
        return next_obs, env_state, rows

    def start(key):
        reset_key, init_key, key = jax.random.split(key, 3)
        obs, env_state = reset(jax.random.split(reset_key, num_envs), params)
        weights = network.init(init_key, obs)
        zero = {"action": jnp.zeros((), jnp.int32), "reward": jnp.zeros(()), "done": jnp.zeros((), bool)}
        rows = buffer.init({"obs": obs[0], **zero})

        def fill(i, carry):
            return collect(jax.random.fold_in(key, i), weights, *carry, 1.0)

        obs, env_state, rows = jax.lax.fori_loop(
            0, -(-sizes["warmup_steps"] // num_envs), fill, (obs, env_state, rows)
        )
        return key, weights, weights, optimizer.init(weights), obs, env_state, rows

    def loss(weights, target, pair):
        now, then = pair.first, pair.second
        best = network.apply(weights, then["obs"]).argmax(-1)
        following = jnp.take_along_axis(network.apply(target, then["obs"]), best[:, None], 1)[:, 0]
        wanted = jax.lax.stop_gradient(now["reward"] + numbers["gamma"] * (1.0 - now["done"]) * following)
        value = jnp.take_along_axis(network.apply(weights, now["obs"]), now["action"][:, None], 1)[:, 0]
        return optax.l2_loss(value, wanted).mean()

    def iteration(state, epsilon):
        key, weights, target, opt_state, obs, env_state, rows = state
        key, collect_key, *draw_keys = jax.random.split(key, 2 + sizes["num_gradient_steps"])
        obs, env_state, rows = collect(collect_key, weights, obs, env_state, rows, epsilon)
        for draw_key in draw_keys:
            pair = buffer.sample(rows, draw_key).experience
            grads = jax.grad(loss)(weights, target, pair)
            updates, opt_state = optimizer.update(grads, opt_state, weights)
            weights = optax.apply_updates(weights, updates)
        target = optax.incremental_update(weights, target, numbers["tau"])
        return key, weights, target, opt_state, obs, env_state, rows

    def train(state, iterations, explored):
        """`iterations` of one agent, in the first `explored` of which epsilon decays."""

        def body(i, state):
            return iteration(state, jnp.maximum(0.05, 1.0 - 0.95 * i / explored))

        return jax.lax.fori_loop(0, iterations, body, state)

    def episode(state, key):
        """The return of the first episode."""

        def one(carry):
            key, obs, env_state, total, _ = carry
            key, act_key, env_key = jax.random.split(key, 3)
            action = act(state[1], obs[None], act_key, 0.005)[0]
            obs, env_state, reward, terminated, truncated, _ = env.step(env_key, env_state, action, params)
            return key, obs, env_state, total + reward, terminated | truncated

        reset_key, key = jax.random.split(key)
        carry = (key, *env.reset(reset_key, params), jnp.zeros(()), jnp.zeros((), bool))
        return jax.lax.while_loop(lambda carry: ~carry[-1], one, carry)[3]

    def keys(count, first=0):
        return jax.vmap(jax.random.key)(jnp.arange(first, first + count))

    def over_agents(function, **given):
        return jax.jit(jax.vmap(function, (0, None, None)) if agents > 1 else function, **given)

    state = jax.jit(jax.vmap(start) if agents > 1 else start)(keys(agents) if agents > 1 else keys(1)[0])
    state = jax.tree.map(jnp.copy, state)  # the two networks are one array, which cannot be donated twice
    program = over_agents(train, donate_argnums=0)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) // agents

    def run(iterations):
        nonlocal state
        state = jax.block_until_ready(program(state, iterations, 1e-6))

    def learn(steps):
        iterations = -(-(steps - sizes["warmup_steps"]) // num_envs)

        def one(key, eval_key):
            state = train(start(key), iterations, numbers["exploration"] * iterations)
            return jax.vmap(lambda key: episode(state, key))(
                jax.random.split(eval_key, settings["eval_episodes"])
            ).mean()

        seeds = settings["learn_seeds"]
        return jax.jit(jax.vmap(one))(keys(seeds, 1000), keys(seeds, 5000))

    return Contestant(
        run=run,
        steps_per_unit=num_envs * agents,
        gradient_steps_per_unit=sizes["num_gradient_steps"] * agents,
        learn=learn,
        device=jax_device,
        agent_bytes=lambda: size,
        source=flashbax.__file__,
        notes="a plain loop around its flat buffer, in gymnax; a truncation is a termination",
    )


def draws(settings):
    """Draws from flashbax's flat buffer, uniform or prioritized."""
    import flashbax
    import jax
    import jax.numpy as jnp

    sizes = settings["sizes"]
    make_buffer = flashbax.make_flat_buffer
    if settings["prioritized"]:
        make_buffer = flashbax.make_prioritised_flat_buffer
    buffer = make_buffer(
        max_length=sizes["capacity"],
        min_length=sizes["batch_size"],
        sample_batch_size=sizes["batch_size"],
        add_batch_size=sizes["num_envs"],
    )

    def rows(step):
        return {"obs": step.obs, "action": step.action, "reward": step.reward, "done": step.done}

    def add(state, step, i):
        del i
        return buffer.add(state, rows(step))

    def draw(state, key):
        batch = buffer.sample(state, key)
        if settings["prioritized"]:
            priority = 1.0 + batch.experience.first["obs"][:, 0] % 7.0
            state = buffer.set_priorities(state, batch.indices, priority)
        return state, batch

    example = jax.tree.map(lambda x: x[0], rows(drawing.steps(0, sizes["num_envs"])))
    state = jax.tree.map(jnp.asarray, buffer.init(example))
    return drawing.contestant(settings, state, add, draw, flashbax.__file__)


if __name__ == "__main__":
    serve(load, make)
