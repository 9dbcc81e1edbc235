"""Networks against a forward pass in NumPy, and their memory against stepping by hand."""

from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from reference import networks as slow

from jaxrl import cores, critics, encoding, networks, policies
from jaxrl.cpu import matrix
from jaxrl.envs.wrappers import auto_reset, episode_stats, restart, time_limit
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Env

TORSOS = {False: ("actor_torso", "critic_torso"), True: ("shared_torso",)}
KINDS = [(shared, memory) for shared in (False, True) for memory in (0, 5)]


def random_params(module, *inputs):
    """Parameters none of which is zero; the initial ones would take seconds to compile."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda p: rng.normal(scale=0.5, size=p.shape).astype(p.dtype), shapes)


@cache
def actor_critic(shared=False, memory_size=0):
    """A compiled `(memory, x, first) -> (memory, (outputs, value))`, its memory and parameters."""
    net = networks.ActorCritic(networks.MLP((8, 6)), 3, 0, shared, cores.make("gru", memory_size))
    inputs = (net.initial_memory(1), np.zeros((1, 4)), np.zeros(1, bool))
    params = random_params(net, *inputs)
    return partial(jax.jit(net.apply), params), net.initial_memory, params["params"]


@cache
def initial_params(shared):
    net = networks.ActorCritic(networks.MLP((8, 6)), 3, 2, shared, init_log_std=-0.7)
    init = jax.jit(net.init)
    return init(jax.random.key(0), (), jnp.zeros((1, 4)), jnp.zeros(1, bool))["params"]


def rollout_inputs(num_steps=7, num_envs=3, seed=1):
    rng = np.random.default_rng(seed)
    x, next_x = rng.normal(size=(2, num_steps, num_envs, 4)).astype(np.float32)
    first = rng.random((num_steps, num_envs)) < 0.3
    first[min(2, num_steps - 1), 0] = first[0, 1] = True
    first[:, 2] = False
    return x, next_x, first


# ---------------------------------------------------------------------------------------------------
# Initial weights


def assert_orthogonal(kernel, scale):
    """The shorter side's vectors are at right angles and `scale` long."""
    matrix = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, scale**2 * np.eye(len(gram)), atol=1e-5 * scale**2)


@pytest.mark.parametrize("shared", [False, True])
def test_initial_weights_are_orthogonal_and_scaled_and_biases_zero(shared):
    params = initial_params(shared)
    assert set(params) == {*TORSOS[shared], "actor_head", "critic_head", "log_std"}
    for name in TORSOS[shared]:
        assert params[name]["Dense_0"]["kernel"].shape == (4, 8)
        assert params[name]["Dense_1"]["kernel"].shape == (8, 6)
        for layer in params[name].values():
            assert_orthogonal(layer["kernel"], 2**0.5)
            np.testing.assert_array_equal(layer["bias"], 0.0)
    assert_orthogonal(params["actor_head"]["kernel"], 0.01)
    assert_orthogonal(params["critic_head"]["kernel"], 1.0)
    for head in ("actor_head", "critic_head"):
        np.testing.assert_array_equal(params[head]["bias"], 0.0)
    np.testing.assert_allclose(params["log_std"], [-0.7, -0.7])


def test_actor_and_critic_have_separate_initial_weights():
    params = initial_params(False)
    a, b = (params[name]["Dense_0"]["kernel"] for name in TORSOS[False])
    assert np.abs(a - b).max() > 0.1


def test_log_stds_follow_the_outputs_and_do_not_depend_on_the_state():
    net = networks.ActorCritic(networks.MLP((4,)), 3, 2)
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    params = random_params(net, (), x, np.zeros((5, 2), bool))
    memory, (outputs, value) = net.apply(params, (), x, np.zeros((5, 2), bool))
    assert memory == ()
    assert outputs.shape == (5, 2, 5)
    assert value.shape == (5, 2)
    assert np.abs(outputs[..., :3] - outputs[0, 0, :3]).max() > 0.1
    log_std = np.broadcast_to(params["params"]["log_std"], (5, 2, 2))
    np.testing.assert_array_equal(outputs[..., 3:], log_std)


# ---------------------------------------------------------------------------------------------------
# Forward passes


@pytest.mark.parametrize(("shared", "memory_size"), KINDS)
def test_one_step_matches_the_reference(shared, memory_size):
    network, initial_memory, params = actor_critic(shared, memory_size)
    x, _, _ = rollout_inputs(1, 4)
    first = np.array([False, True, False, True])
    rng = np.random.default_rng(2)
    memory = tuple(rng.normal(size=m.shape).astype(np.float32) for m in initial_memory(4))
    assert len(memory) == (len(TORSOS[shared]) if memory_size else 0)
    after, (outputs, value) = network(memory, x[0], first)
    for n in range(4):
        remembered, ours, v = slow.actor_critic(
            params, TORSOS[shared], [m[n] for m in memory], x[0, n], first[n]
        )
        np.testing.assert_allclose(outputs[n], ours, atol=1e-5)
        np.testing.assert_allclose(value[n], v, atol=1e-5)
        for a, b in zip(after, remembered, strict=True):
            np.testing.assert_allclose(a[n], b, atol=1e-5)


def what_the_value_depends_on(shared, torso, x):
    """The parts of a network whose parameters affect the value."""
    net = networks.ActorCritic(torso, 3, shared=shared)
    first = np.zeros(x.shape[:1], bool)
    params = random_params(net, (), x, first)

    @jax.jit
    @jax.grad
    def gradient(params):
        return net.apply(params, (), x, first)[1][1].sum()

    parts = gradient(params)["params"]
    return {name: any(np.any(g) for g in jax.tree.leaves(part)) for name, part in parts.items()}


class Torso(nn.Module):
    """A custom torso that contains a submodule and takes planes `[..., 3, 2]`."""

    inner: nn.Module

    @nn.compact
    def __call__(self, x):
        return self.inner(x.reshape((*x.shape[:-2], 6)))


@pytest.mark.parametrize(
    "torso",
    [
        networks.MLP((5,)),
        Torso(nn.Dense(7)),
        nn.Sequential([nn.Dense(5), nn.relu, lambda x: x[..., 0, :]]),
    ],
    ids=["mlp", "holds one", "sequential"],
)
def test_a_torso_is_shared_only_on_request(torso):
    shape = (4, 2) if isinstance(torso, networks.MLP) else (4, 3, 2)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert what_the_value_depends_on(False, torso, x) == {
        "actor_torso": False,
        "critic_torso": True,
        "actor_head": False,
        "critic_head": True,
    }
    assert what_the_value_depends_on(True, torso, x) == {
        "shared_torso": True,
        "actor_head": False,
        "critic_head": True,
    }


# ---------------------------------------------------------------------------------------------------
# Memory


@pytest.mark.parametrize("shared", [False, True])
def test_a_first_observation_meets_a_fresh_memory(shared):
    network, initial_memory, _ = actor_critic(shared, memory_size=5)
    x = rollout_inputs(1, 4)[0][0]
    old = jax.tree.map(lambda m: m + 3.0, initial_memory(4))
    first = np.array([True, False, True, False])
    reset = network(old, x, first)
    fresh = network(initial_memory(4), x, np.zeros(4, bool))
    carried = network(old, x, np.zeros(4, bool))
    for ours, new, kept in zip(*map(jax.tree.leaves, (reset, fresh, carried))):
        np.testing.assert_array_equal(ours[first], new[first])
        np.testing.assert_array_equal(ours[~first], kept[~first])
        assert np.abs(new - kept).max() > 1e-3


def test_gradients_do_not_pass_the_start_of_an_episode():
    network, initial_memory, _ = actor_critic(memory_size=5)
    x, _, first = rollout_inputs()
    first = np.zeros_like(first)
    first[4, 0] = True

    def last_value(x):
        return networks.unroll(network, initial_memory(3), x, first)[1][-1].sum()

    gradient = np.abs(jax.jit(jax.grad(last_value))(x)).sum(-1)
    assert np.all(gradient[:4, 0] == 0.0)
    assert np.all(gradient[4:, 0] > 0.0)
    assert np.all(gradient[:, 1:] > 0.0)


@pytest.mark.parametrize(("shared", "memory_size"), KINDS)
def test_unroll_matches_step_by_step_evaluation(shared, memory_size):
    network, initial_memory, _ = actor_critic(shared, memory_size)
    x, _, first = rollout_inputs()
    memory = jax.tree.map(lambda m: m + 0.5, initial_memory(3))
    outputs, value = networks.unroll(network, memory, x, first)
    assert outputs.shape == (7, 3, 3)
    assert value.shape == (7, 3)
    for t in range(7):
        memory, (o, v) = network(memory, x[t], first[t])
        np.testing.assert_allclose(outputs[t], o, atol=1e-6)
        np.testing.assert_allclose(value[t], v, atol=1e-6)


@pytest.mark.parametrize(("shared", "memory_size"), KINDS)
def test_values_match_step_by_step_evaluation(shared, memory_size):
    network, initial_memory, _ = actor_critic(shared, memory_size)
    x, next_x, first = rollout_inputs()
    for t in range(6):  # within an episode a step leads to where the next one starts
        next_x[t] = np.where(first[t + 1][:, None], next_x[t], x[t + 1])
    memory = jax.tree.map(lambda m: m + 0.5, initial_memory(3))
    memories, value_by_hand, next_value_by_hand = [], [], []
    for t in range(7):
        memories.append(memory)
        memory, (_, value) = network(memory, x[t], first[t])
        value_by_hand.append(value)
        # The old episode has one more observation, whatever the next step starts with.
        _, (_, next_value) = network(memory, next_x[t], np.zeros(3, bool))
        next_value_by_hand.append(next_value)
    stacked = jax.tree.map(lambda *m: jnp.stack(m), *memories)
    policy = SimpleNamespace(encode=lambda _, obs: obs, step=lambda _, *inputs: network(*inputs))
    policy.value = critics.SCALAR.value
    steps = SimpleNamespace(obs=x, next_obs=next_x, first=first, memory=stacked)
    value, next_value = policies.values(policy, (), (), steps, memory)
    np.testing.assert_allclose(value, value_by_hand, atol=1e-6)
    np.testing.assert_allclose(next_value, next_value_by_hand, atol=1e-6)
    same = ~first[1:]
    np.testing.assert_allclose(next_value[:-1][same], value[1:][same], atol=1e-6)
    assert np.abs(next_value[:-1] - value[1:])[~same].min() > 1e-4


# ---------------------------------------------------------------------------------------------------
# Observations


def test_every_space_is_encoded_under_leading_axes():
    eye = np.eye
    obs = np.array([[0, 2, 1], [2, 2, 0]])
    np.testing.assert_array_equal(encoding.encode(Discrete(3), jnp.asarray(obs)), eye(3)[obs])
    pairs = np.array([[[0, 2], [1, 0]]])
    ours = encoding.encode(MultiDiscrete((2, 3)), jnp.asarray(pairs))
    np.testing.assert_array_equal(ours, np.concatenate([eye(2)[pairs[..., 0]], eye(3)[pairs[..., 1]]], -1))
    for shape in [(), (4,), (2, 3), (2, 2, 2)]:
        box = np.random.default_rng(0).normal(size=(5, 2, *shape)).astype(np.float32)
        ours = encoding.encode(Box(-1.0, 1.0, shape), jnp.asarray(box))
        np.testing.assert_array_equal(ours, box.reshape(5, 2, -1))
    image = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 3, 1), np.uint8)
    space = Box(0, 255, (3, 3, 1), np.dtype(np.uint8))
    kept = encoding.encode(space, jnp.asarray(image), flat=False)
    assert kept.dtype == jnp.float32
    np.testing.assert_allclose(kept, image / 255, rtol=1e-6)
    ours = encoding.encode(space, jnp.asarray(image))
    np.testing.assert_allclose(ours, image.reshape(5, 2, 9) / 255, rtol=1e-6)


BYTES = np.dtype(np.uint8)


@pytest.mark.parametrize(
    "space, scale",
    [
        (Box(0, 255, (3, 3, 1), BYTES), 255),
        (Box(np.zeros((3, 3, 1), np.uint8), np.full((3, 3, 1), 255, np.uint8), (3, 3, 1), BYTES), 255),
        (Box(0, 255, (9,), BYTES), 255),
        (Box(0, 1, (3, 3, 1), BYTES), 1),  # planes of 0 and 1
        (Box(0, 9, (3, 3, 1), BYTES), 1),  # kinds of things
        (Box(0, 255, (3, 3, 1), np.dtype(np.int32)), 1),
        (Box(0.0, 255.0, (3, 3, 1)), 1),
        (Box(False, True, (3, 3, 1), np.dtype(bool)), 1),
    ],
)
def test_bytes_are_scaled_and_nothing_else_is(space, scale):
    high = int(np.max(space.high))
    obs = np.random.default_rng(0).integers(0, high + 1, (4, *space.shape)).astype(space.dtype)
    expected = obs.astype(np.float64) / scale
    ours = encoding.encode(space, jnp.asarray(obs), flat=False)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    np.testing.assert_allclose(encoding.encode(space, jnp.asarray(obs)), expected.reshape(4, -1), rtol=1e-6)
    both = {"picture": space, "vector": Box(-9.0, 9.0, (2,))}
    joined = encoding.encode(both, {"picture": jnp.asarray(obs), "vector": jnp.full((4, 2), 7.0)})
    np.testing.assert_allclose(joined[:, :9], expected.reshape(4, -1), rtol=1e-6)
    np.testing.assert_array_equal(joined[:, 9:], 7.0)


@pytest.mark.parametrize("leading", [(), (6,), (5, 2)])
def test_a_pytree_is_encoded_end_to_end(leading):
    space = {
        "b": (Discrete(3), Box(0, 9, (2, 2), np.dtype(np.int32))),
        "a": MultiDiscrete((2, 2)),
        "c": Box(False, True, (2,), np.dtype(bool)),
    }
    rng = np.random.default_rng(1)
    obs = {
        "a": rng.integers(0, 2, (*leading, 2)),
        "b": (rng.integers(0, 3, leading), rng.integers(0, 10, (*leading, 2, 2))),
        "c": rng.random((*leading, 2)) < 0.5,
    }
    ours = encoding.encode(space, jax.tree.map(jnp.asarray, obs))
    assert ours.dtype == jnp.float32
    theirs = [
        np.eye(2)[obs["a"][..., 0]],
        np.eye(2)[obs["a"][..., 1]],
        np.eye(3)[obs["b"][0]],
        obs["b"][1].reshape(*leading, 4),
        obs["c"],
    ]
    np.testing.assert_array_equal(ours, np.concatenate(theirs, axis=-1))


def test_a_convolution_takes_images_under_any_leading_axes():
    net = networks.CNN(channels=(4, 2), hidden_sizes=(6,))
    images = np.random.default_rng(2).normal(size=(3, 2, 7, 6, 3)).astype(np.float32)
    initial = jax.jit(net.init)(jax.random.key(0), images[0, :1])
    assert_orthogonal(initial["params"]["Conv_0"]["kernel"], 2**0.5)
    params, apply = random_params(net, images[0, :1]), jax.jit(net.apply)
    ours = apply(params, images)
    assert ours.shape == (3, 2, 6)
    np.testing.assert_allclose(apply(params, images[1, 1]), ours[1, 1], atol=1e-5)
    layers = jax.tree.map(lambda p: np.asarray(p, np.float64), params["params"])
    x = images[2, 0]
    for name in ("Conv_0", "Conv_1"):
        x = np.maximum(slow.conv_valid(layers[name]["kernel"], layers[name]["bias"], x), 0.0)
    theirs = np.maximum(slow.dense(layers["MLP_0"]["Dense_0"], x.reshape(-1)), 0.0)
    np.testing.assert_allclose(ours[2, 0], theirs, atol=1e-4)


PARTS = {"image": Box(0, 255, (4, 5, 2), BYTES), "goal": Discrete(3), "speed": Box(-1.0, 1.0, (2,))}


def parts_of(*leading):
    rng = np.random.default_rng(3)
    return {
        "image": rng.integers(0, 256, (*leading, 4, 5, 2)).astype(np.uint8),
        "goal": rng.integers(0, 3, leading),
        "speed": rng.normal(size=(*leading, 2)).astype(np.float32),
    }


def test_a_joined_observation_is_split_into_its_parts_again():
    obs = parts_of(6, 2)
    x = encoding.encode(PARTS, jax.tree.map(jnp.asarray, obs))
    ours = encoding.splitter(PARTS)(x)
    np.testing.assert_allclose(ours["image"], obs["image"] / 255, rtol=1e-6)
    np.testing.assert_array_equal(ours["goal"], np.eye(3)[obs["goal"]])
    np.testing.assert_array_equal(ours["speed"], obs["speed"])


def in_parts():
    """An environment that observes an image, a goal and a speed."""

    def observed(key):
        zeros = {name: jnp.zeros(space.shape, space.dtype) for name, space in PARTS.items()}
        return jnp.zeros(()), restart(zeros)

    def step(key, state, action):
        return state, restart(observed(key)[1].obs).replace(terminated=action > 0)

    return auto_reset(episode_stats(time_limit(Env(observed, step, PARTS, Discrete(2)), 5)))


def test_images_among_other_parts_are_convolved_and_joined_with_them():
    policy = policies.actor_critic(in_parts(), policies.NetworkConfig(hidden_sizes=(6,), activation="relu"))
    x = policy.encode((), jax.tree.map(jnp.asarray, parts_of(3)))
    assert policy.obs_shape == (4 * 5 * 2 + 3 + 2,)
    params = random_params(SimpleNamespace(init=lambda key: policy.init(key)))
    layers = jax.tree.map(lambda p: np.asarray(p, np.float64), params["params"])["actor_torso"]
    _, (outputs, value) = jax.jit(policy.step)(params, (), x, np.zeros(3, bool))
    assert outputs.shape == (3, 2) and value.shape == (3,)
    obs = parts_of(3)
    image = slow.conv_valid(layers["Conv_0"]["kernel"], layers["Conv_0"]["bias"], obs["image"][1] / 255)
    joined = np.concatenate([np.eye(3)[obs["goal"][1]], np.maximum(image, 0).ravel(), obs["speed"][1]])
    hidden = np.maximum(slow.dense(layers["MLP_0"]["Dense_0"], joined), 0.0)
    head = jax.tree.map(lambda p: np.asarray(p, np.float64), params["params"]["actor_head"])
    np.testing.assert_allclose(outputs[1], slow.dense(head, hidden), atol=1e-4)


class PartsTorso(nn.Module):
    """Uses the image and the speed, and ignores the goal."""

    @nn.compact
    def __call__(self, x):
        assert x["image"].shape[-3:] == (4, 5, 2) and x["goal"].shape[-1] == 3
        return jnp.concatenate([nn.Dense(4)(x["image"].mean((-3, -2))), x["speed"]], axis=-1)


@pytest.mark.parametrize("memory_size", [0, 5])
def test_a_torso_takes_the_pytree_of_an_observation(memory_size):
    config = policies.NetworkConfig(memory_size=memory_size)
    policy = policies.actor_critic(in_parts(), config, torso=PartsTorso())
    params = random_params(SimpleNamespace(init=lambda key: policy.init(key)))
    obs = jax.tree.map(jnp.asarray, parts_of(2, 3))
    memory, first = policy.initial_memory(3), jnp.zeros((2, 3), bool)
    unroll = jax.jit(policy.unroll)
    outputs, value = unroll(params, memory, policy.encode((), obs), first)
    assert outputs.shape == (2, 3, 2) and value.shape == (2, 3)
    for part, matters in (("image", True), ("speed", True), ("goal", False)):
        changed = policy.encode((), obs | {part: 1 + obs[part]})
        assert np.array_equal(value, unroll(params, memory, changed, first)[1]) != matters


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_convolution_and_its_gradient_match_flax(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # an accelerator's way runs on a CPU too
    ours, theirs = networks.Conv(5), nn.Conv(5, (3, 3), padding="VALID")
    images = np.random.default_rng(4).normal(size=(3, 6, 7, 2)).astype(np.float32)
    params = random_params(theirs, images)
    weights = np.random.default_rng(5).normal(size=(3, 4, 5, 5)).astype(np.float32)

    def values(net):
        def total(params, images):
            out = net.apply(params, images)
            return (out * weights).sum(), out

        return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(params, images)

    assert jax.tree.structure(jax.eval_shape(ours.init, jax.random.key(0), images)) == jax.tree.structure(
        params
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), values(ours), values(theirs))


def test_when_a_convolution_is_chosen():
    image, thin = Box(0.0, 1.0, (10, 10, 4)), Box(0.0, 1.0, (2, 10, 4))
    others = [Box(0.0, 1.0, (4,)), Box(0.0, 1.0, (5, 5)), Discrete(3), {"image": thin}]
    assert encoding.use_cnn(image, "auto")
    assert encoding.use_cnn(image, "cnn")
    assert not encoding.use_cnn(image, "mlp")
    assert not encoding.use_cnn(thin, "auto")  # a 3x3 kernel has nothing to slide over
    assert encoding.use_cnn(thin, "cnn")
    parts = {"image": image, "goal": Discrete(3)}
    assert encoding.use_cnn(parts, "auto") and encoding.use_cnn(parts, "cnn")
    assert not encoding.use_cnn(parts, "mlp")
    for space in others:
        assert not encoding.use_cnn(space, "auto")
        assert not encoding.use_cnn(space, "mlp")
        with pytest.raises(ValueError, match="torso 'cnn' needs images"):
            encoding.use_cnn(space, "cnn")
    with pytest.raises(ValueError, match=r"'resnet'.*'auto', 'mlp', 'cnn' or 'soft_moe'"):
        encoding.use_cnn(image, "resnet")


@pytest.mark.parametrize("name", sorted(networks.ACTIVATIONS))
def test_activations_match_their_names(name):
    x = np.linspace(-3.0, 3.0, 13)
    theirs = {
        "tanh": np.tanh(x),
        "relu": np.maximum(x, 0),
        "silu": x / (1 + np.exp(-x)),
        "gelu": x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "elu": np.where(x > 0, x, np.expm1(x)),
    }
    np.testing.assert_allclose(networks.ACTIVATIONS[name](jnp.asarray(x)), theirs[name], atol=1e-6)


# ---------------------------------------------------------------------------------------------------
# Products


# Batch, inputs, outputs: wide and narrow kernels, a square one, and sizes of one.
PRODUCTS = [(5, 3, 7), (5, 7, 3), (6, 4, 4), (1, 6, 1), (3, 1, 2), (5, 40, 20)]


def factors(batch, inputs, outputs):
    rng = np.random.default_rng(0)
    shapes = ((2, batch, inputs), (2, inputs, outputs))
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def derivatives(multiply):
    """Value, first and second derivatives of a loss that is nonlinear in both factors."""

    def loss(x, kernel):
        return jnp.sum(jnp.tanh(multiply(x, kernel)) ** 2)

    def slope(x, kernel):
        return sum(jnp.sum(jnp.sin(g)) for g in jax.grad(loss, (0, 1))(x, kernel))

    def every(x, kernel):
        other_x, other_kernel = jnp.cos(x), jnp.sin(kernel + 1.0)
        return {
            "value": multiply(x, kernel),
            "reverse": jax.grad(loss, (0, 1))(x, kernel),
            "forward": jax.jvp(multiply, (x, kernel), (other_x, other_kernel)),
            "forward, one factor": [
                jax.jvp(lambda x: multiply(x, kernel), (x,), (other_x,))[1],
                jax.jvp(lambda k: multiply(x, k), (kernel,), (other_kernel,))[1],
            ],
            "reverse of reverse": jax.grad(slope, (0, 1))(x, kernel),
            "forward of reverse": jax.jacfwd(jax.grad(loss, (0, 1)), (0, 1))(x, kernel),
            "reverse of forward": jax.grad(lambda k: jax.jvp(loss, (x, k), (other_x, other_kernel))[1])(
                kernel
            ),
        }

    return every


@pytest.mark.parametrize("sizes", PRODUCTS)
def test_a_product_and_its_derivatives_match_matmul(sizes):
    x, kernel = factors(*sizes)
    ours, theirs = (
        jax.jit(derivatives(multiply))(x[0], kernel[0]) for multiply in (matrix._rows_matmul, jnp.matmul)
    )
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), ours, theirs)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(theirs))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("sizes", PRODUCTS[:2])
def test_products_are_batched_over_either_factor(sizes, axes):
    x, kernel = (f if axis == 0 else f[0] for f, axis in zip(factors(*sizes), axes))
    batched = [jax.vmap(derivatives(multiply), axes) for multiply in (matrix._rows_matmul, jnp.matmul)]
    ours, theirs = (jax.jit(function)(x, kernel) for function in batched)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), ours, theirs)


@pytest.mark.parametrize(
    "net", [networks.MLP((6, 3), layer_norm=True), networks.CNN((2,), (3,), "tanh", True)]
)
def test_units_are_normalized_before_the_activation(net):
    """Each layer, and each cell of a convolution over its channels, to mean 0 and variance 1."""
    x = np.random.default_rng(4).normal(size=(4, 5, 5, 2) if isinstance(net, networks.CNN) else (4, 5))
    params = random_params(net, x.astype(np.float32))
    ours = jax.jit(net.apply)(params, x.astype(np.float32))

    def normalized(weights, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) * weights["scale"]
            + weights["bias"]
        )

    weights = params["params"]
    if isinstance(net, networks.CNN):
        kernel, bias = weights["Conv_0"]["kernel"], weights["Conv_0"]["bias"]
        x = np.stack([slow.conv_valid(np.asarray(kernel), np.asarray(bias), image) for image in x])
        x, weights = np.tanh(normalized(weights["LayerNorm_0"], x)).reshape(4, -1), weights["MLP_0"]
    for i in range(len(net.hidden_sizes)):
        x = x @ weights[f"Dense_{i}"]["kernel"] + weights[f"Dense_{i}"]["bias"]
        x = np.tanh(normalized(weights[f"LayerNorm_{i}"], x))
    np.testing.assert_allclose(ours, x, atol=1e-4)


def test_layers_take_any_batch_axes():
    net = networks.MLP((6, 3))
    x = np.random.default_rng(3).normal(size=(4, 2, 5)).astype(np.float32)
    params = random_params(net, x)
    apply = jax.jit(net.apply)
    ours = apply(params, x)
    assert ours.shape == (4, 2, 3)
    theirs = np.asarray(x, np.float64)
    for name in ("Dense_0", "Dense_1"):
        theirs = np.tanh(theirs @ params["params"][name]["kernel"] + params["params"][name]["bias"])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(apply(params, x[2]), ours[2], atol=1e-6)
    one = apply(params, x[2, 1])
    assert one.shape == (3,)
    np.testing.assert_allclose(one, ours[2, 1], atol=1e-6)

    # The gradient of all rows is the sum of those of each row.
    def gradient(x):
        return jax.jit(jax.grad(lambda p: jnp.square(net.apply(p, x)).sum()))(params)

    each = jax.vmap(gradient)(x.reshape(-1, 5))
    for whole, rows in zip(*map(jax.tree.leaves, (gradient(x), each))):
        np.testing.assert_allclose(whole, rows.sum(0), atol=1e-4)
