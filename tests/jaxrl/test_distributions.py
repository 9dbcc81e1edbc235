"""Action distributions against scipy.stats and numerical integration."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import distributions as slow
from scipy import stats

from jaxrl import distributions
from jaxrl.spaces import Box, Discrete, MultiDiscrete, contains

# One entry of every kind of Box: symmetric, with bounds per number, of several axes, a scalar.
BOXES = {
    "symmetric": Box(-2.0, 2.0, (3,)),
    "asymmetric": Box(np.array([-1.0, 0.0, 3.0]), np.array([0.5, 10.0, 3.25]), (3,)),
    "matrix": Box(np.array([[-1.0], [2.0]]), np.array([[4.0], [2.5]]), (2, 3)),
    "scalar": Box(-0.5, 3.0, ()),
}


def random(*shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def evaluate(space, outputs, actions, squash=False, action_mask=None):
    """Of each of `actions` `[K, ...]` its log-probability; the entropy and the mode. Compiled as one."""

    @jax.jit
    def ask(outputs, actions, action_mask):
        pi = distributions.make(space, outputs, squash=squash, action_mask=action_mask)
        return jax.vmap(pi.log_prob)(actions), pi.entropy(), pi.mode()

    return jax.tree.map(np.asarray, ask(outputs, actions, action_mask))


def draws(distribution, count, seed=0):
    """`[count, ...]` independent samples."""
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(distribution.sample))(keys))


def chi_square(actions, probabilities):
    """The p-value of integer samples; fails at once for one that cannot be."""
    counts = np.bincount(actions, minlength=len(probabilities))
    possible = probabilities > 0
    assert counts[~possible].sum() == 0
    expected = probabilities[possible] * len(actions)
    return stats.chisquare(counts[possible], expected).pvalue


def mean_and_std(space, outputs):
    size = int(np.prod(space.shape))
    mean, std = outputs[..., :size].astype(np.float64), np.exp(outputs[..., size:], dtype=float)
    shape = (*outputs.shape[:-1], *space.shape)
    return mean.reshape(shape), std.reshape(shape)


def sum_over_space(x, space):
    return x.sum(tuple(range(x.ndim - len(space.shape), x.ndim)))


# ---------------------------------------------------------------------------------------------------
# Discrete and MultiDiscrete


def test_categorical_matches_scipy():
    logits = random(4, 6, 5, scale=3.0)
    p = slow.categorical(logits)
    every = np.tile(np.arange(5)[:, None, None], (1, 4, 6))
    ours, entropy, mode = evaluate(Discrete(5), logits, every)
    for action in range(5):
        theirs = [stats.multinomial.logpmf(np.eye(5)[action], 1, q) for q in p.reshape(-1, 5)]
        np.testing.assert_allclose(ours[action].ravel(), theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropy, slow.entropy(p), rtol=1e-5)
    np.testing.assert_array_equal(mode, p.argmax(-1))
    sample = distributions.make(Discrete(5), jnp.asarray(logits)).sample
    drawn = jax.eval_shape(sample, jax.random.key(0))
    assert drawn.shape == mode.shape == (4, 6)
    assert drawn.dtype == mode.dtype == jnp.int32


def test_categorical_samples_follow_their_probabilities():
    logits = np.array([[0.0, 1.0, -1.0, 2.0], [3.0, 0.0, 0.0, 0.0]], np.float32)
    actions = draws(distributions.make(Discrete(4), jnp.asarray(logits)), 20_000)
    for lane, p in enumerate(slow.categorical(logits)):
        assert chi_square(actions[:, lane], p) > 0.01
        assert chi_square(actions[:, lane], np.full(4, 0.25)) < 1e-6  # the check can fail
    together = actions[:, 0] * 4 + actions[:, 1]  # lanes are independent
    p = np.outer(*slow.categorical(logits)).ravel()
    assert chi_square(together, p) > 0.01


def test_multi_discrete_is_a_product():
    space = MultiDiscrete((2, 4, 3))
    logits = random(7, 9, seed=1)
    parts = [slow.categorical(x) for x in np.split(logits, [2, 6], axis=-1)]
    every = np.array(list(np.ndindex(2, 4, 3)))
    ours, entropy, mode = evaluate(space, logits, np.tile(every[:, None], (1, 7, 1)))
    for action, log_prob in zip(every, ours):
        theirs = sum(np.log(p[:, a]) for p, a in zip(parts, action))
        np.testing.assert_allclose(log_prob, theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropy, sum(map(slow.entropy, parts)), rtol=1e-5)
    np.testing.assert_array_equal(mode, np.stack([p.argmax(-1) for p in parts], -1))
    actions = draws(distributions.make(space, jnp.asarray(logits)), 5_000)
    assert actions.shape == (5_000, 7, 3)
    joint = np.einsum("a,b,c->abc", *(p[0] for p in parts)).ravel()
    flat = np.ravel_multi_index(actions[:, 0].T, (2, 4, 3))
    assert chi_square(flat, joint) > 0.01


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_forbidden_actions_are_never_drawn_and_do_not_count(scale):
    logits = random(3, 6, seed=2, scale=scale)
    mask = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
    logits[:, 1] += 20.0  # the forbidden action would be the most likely one
    p = slow.categorical(np.where(mask, logits, logits.min()), mask)
    every = np.tile(np.arange(6)[:, None], (1, 3))
    log_prob, entropy, mode = evaluate(Discrete(6), logits, every, action_mask=mask)
    np.testing.assert_allclose(entropy, slow.entropy(p), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(mode, p.argmax(-1))
    assert entropy[1] == 0.0
    assert np.all(log_prob.T[~mask] < -1e6)
    assert np.isfinite(log_prob).all()
    likely = p > 1e-30
    np.testing.assert_allclose(log_prob.T[likely], np.log(p[likely]), rtol=1e-5, atol=1e-5)
    pi = distributions.make(Discrete(6), jnp.asarray(logits), action_mask=jnp.asarray(mask))
    actions = draws(pi, 4_000)
    for lane in range(3):
        assert mask[lane][actions[:, lane]].all()
    if scale == 1.0:
        assert chi_square(actions[:, 0], p[0]) > 0.01


@pytest.mark.parametrize("space", [Discrete(6), MultiDiscrete((2, 4))])
def test_masked_gradients_are_finite_and_do_not_touch_forbidden_logits(space):
    mask = jnp.array([[True, False, True, False, False, True], [False, True, True, True, True, True]])
    logits = jnp.asarray(random(2, 6, seed=3, scale=10.0))
    action = jnp.zeros((2, *space.shape), jnp.int32) + jnp.array([0, 1]).reshape(2, *[1] * len(space.shape))

    def total(x):
        pi = distributions.make(space, x, action_mask=mask)
        return (pi.log_prob(action) + pi.entropy()).sum()

    gradient = jax.jit(jax.grad(total))(logits)
    assert np.isfinite(gradient).all()
    assert np.all(np.asarray(gradient)[~np.asarray(mask)] == 0.0)
    assert np.abs(gradient).max() > 0.0


def test_multi_discrete_masks_each_choice():
    space = MultiDiscrete((2, 3))
    logits = random(5, seed=4)
    mask = np.array([False, True, True, False, True])
    last = slow.categorical(logits[2:], mask[2:])
    two = np.array([[1, 2], [0, 2]])
    log_prob, entropy, mode = evaluate(space, logits, two, action_mask=mask)
    assert entropy == pytest.approx(slow.entropy(last), rel=1e-5)
    assert log_prob[0] == pytest.approx(np.log(last[2]), rel=1e-5)
    assert log_prob[1] < -1e6
    np.testing.assert_array_equal(mode, [1, last.argmax()])
    pi = distributions.make(space, jnp.asarray(logits), action_mask=jnp.asarray(mask))
    actions = draws(pi, 2_000)
    assert set(actions[:, 0]) == {1}
    assert chi_square(actions[:, 1], last) > 0.01


@pytest.mark.parametrize("space", [BOXES["symmetric"], {"a": Discrete(2), "b": Discrete(2)}])
def test_a_mask_needs_one_discrete_space(space):
    with pytest.raises(ValueError, match="action mask"):
        distributions.make(space, jnp.zeros(6), action_mask=jnp.ones(4, bool))


# ---------------------------------------------------------------------------------------------------
# Box


@pytest.mark.parametrize("space", BOXES.values(), ids=BOXES)
def test_gaussian_matches_scipy(space):
    size = int(np.prod(space.shape))
    outputs = random(4, 2 * size, seed=5)
    mean, std = mean_and_std(space, outputs)
    action = random(4, *space.shape, seed=6, scale=2.0)
    (log_prob,), entropy, mode = evaluate(space, outputs, action[None])
    theirs = sum_over_space(stats.norm.logpdf(action, mean, std), space)
    np.testing.assert_allclose(log_prob, theirs, rtol=1e-4, atol=1e-5)
    theirs = sum_over_space(stats.norm.entropy(mean, std), space)
    np.testing.assert_allclose(entropy, theirs, rtol=1e-5)
    np.testing.assert_allclose(mode, mean, rtol=1e-6)
    assert mode.shape == (4, *space.shape)


@pytest.mark.parametrize("squash", [False, True])
def test_raw_samples_are_gaussian(squash):
    space = BOXES["matrix"]
    outputs = random(2, 12, seed=7)
    pi = distributions.make(space, jnp.asarray(outputs), squash=squash)
    mean, std = mean_and_std(space, outputs)
    z = (draws(pi, 4_000) - mean) / std
    assert z.shape == (4_000, 2, 2, 3)
    z = z.reshape(4_000, 12)
    for column in z.T:
        assert stats.kstest(column, stats.norm.cdf).pvalue > 0.005
        assert stats.kstest(1.2 * column, stats.norm.cdf).pvalue < 0.005  # the check can fail
    correlation = np.corrcoef(z.T) - np.eye(12)
    assert np.abs(correlation).max() < 0.08


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [(0.0, 1.0, -1.0, 1.0), (0.7, 0.3, -0.5, 3.0), (-1.0, 0.8, 2.0, 2.25), (0.0, 1.5, -9.0, 0.0)],
)
def test_squashed_density_is_one_of_the_bounded_action(mean, std, low, high):
    space = Box(low, high, (1,))
    outputs = np.array([mean, np.log(std)])
    # A grid that is fine near the bounds, where the density is large.
    unit = np.tanh(np.linspace(-7.0, 7.0, 8001))
    y = low + (high - low) * (unit + 1) / 2
    with jax.enable_x64(True):
        raw = np.arctanh(2 * (y - low) / (high - low) - 1)
        density = np.exp(evaluate(space, outputs, raw[:, None], squash=True)[0])
    assert np.trapezoid(density, y) == pytest.approx(1.0, abs=2e-3)
    inside = slice(1500, 6500)
    slope = np.gradient(slow.squashed_cdf(y, mean, std, low, high), y)
    np.testing.assert_allclose(density[inside], slope[inside], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 0.5, -2.0, 4.0])
def test_squashed_entropy_matches_the_integral(mean):
    space = Box(-0.5, 3.0, ())
    std = np.array([0.05, 0.3, 1.0, 2.0, 3.0, 6.0])
    outputs = np.stack([np.full(6, mean), np.log(std)], axis=-1)
    _, ours, _ = evaluate(space, outputs, np.zeros((1, 6)), squash=True)
    error = ours - [slow.squashed_entropy(mean, s, -0.5, 3.0) for s in std]
    assert np.all(np.abs(error) < [1e-4, 1e-4, 1e-4, 1e-4, 1e-3, 2e-2])


@pytest.mark.parametrize("space", BOXES.values(), ids=BOXES)
def test_squashed_parts_add_up_with_separate_bounds(space):
    size = int(np.prod(space.shape))
    outputs = random(2 * size, seed=8, scale=0.5)
    mean, std = mean_and_std(space, outputs)
    low, high = (np.broadcast_to(x, space.shape) for x in (space.low, space.high))
    raw = random(*space.shape, seed=9) if space.shape else np.float32(0.3)
    slope = (high - low) / 2 / np.cosh(np.asarray(raw, float)) ** 2
    theirs = np.sum(stats.norm.logpdf(raw, mean, std) - np.log(slope))
    (log_prob,), entropy, mode = evaluate(space, outputs, raw[None], squash=True)
    assert log_prob == pytest.approx(theirs, rel=1e-4, abs=1e-4)
    parts = zip(*(np.ravel(x) for x in (mean, std, low, high)))
    assert entropy == pytest.approx(sum(slow.squashed_entropy(*p) for p in parts), abs=1e-3)
    np.testing.assert_array_equal(mode, mean.astype(np.float32))


def test_sampled_surprise_is_the_squashed_entropy():
    space = BOXES["asymmetric"]
    outputs = random(6, seed=10)
    raw = draws(distributions.make(space, jnp.asarray(outputs), squash=True), 20_000)
    log_prob, entropy, _ = evaluate(space, outputs, raw, squash=True)
    surprise = -log_prob
    error = surprise.std() / np.sqrt(len(surprise))
    assert surprise.mean() == pytest.approx(float(entropy), abs=4 * error)
    assert error < 0.05


def test_moments_of_the_bounded_action():
    space = Box(-0.5, 3.0, (1,))
    pi = distributions.make(space, jnp.array([0.4, np.log(0.8)]), squash=True)
    actions = np.asarray(distributions.bound(space, jnp.asarray(draws(pi, 20_000)), squash=True))
    y = np.linspace(-0.5, 3.0, 20_001)[1:-1]
    density = np.gradient(slow.squashed_cdf(y, 0.4, 0.8, -0.5, 3.0), y)
    mean = np.trapezoid(y * density, y)
    std = np.sqrt(np.trapezoid((y - mean) ** 2 * density, y))
    assert actions.mean() == pytest.approx(mean, abs=4 * std / np.sqrt(20_000))
    assert actions.std() == pytest.approx(std, rel=0.03)
    cdf = partial(slow.squashed_cdf, mean=0.4, std=0.8, low=-0.5, high=3.0)
    assert stats.kstest(actions[:, 0], cdf).pvalue > 0.01


def test_extreme_raw_actions_have_finite_densities_and_gradients():
    space = Box(-2.0, 5.0, (1,))
    raw = jnp.array([-1e6, -1e4, -100.0, -20.0, -9.0, 0.0, 9.0, 20.0, 100.0, 1e4, 1e6])[:, None]

    def log_prob(outputs, raw):
        return distributions.make(space, outputs, squash=True).log_prob(raw)

    gradient = jax.value_and_grad(log_prob, (0, 1))
    outputs = jnp.array([[0.0, 0.0], [-8.0, 2.0], [50.0, -1.0]])
    answers = jax.jit(jax.vmap(jax.vmap(gradient, (None, 0)), (0, None)))(outputs, raw)
    for x in jax.tree.leaves(answers):
        assert x.shape[:2] == (3, 11)
        assert np.isfinite(x).all()
    # 1 - tanh^2 is 0 in float32 beyond 9: the exact tail is 4 exp(-2 |x|).
    ours = answers[0][0, raw[:, 0] == 20.0].item()
    tail = np.log(4.0) - 2 * 20.0 + np.log(3.5)
    assert ours == pytest.approx(stats.norm.logpdf(20.0) - tail, rel=1e-5)


def test_gradient_of_the_squashed_entropy_matches_the_integral():
    space = Box(-1.0, 2.0, (1,))

    @jax.jit
    @jax.grad
    def gradient(outputs):
        return distributions.make(space, outputs, squash=True).entropy()

    step = 1e-4
    for mean, std in [(0.0, 0.5), (1.0, 1.0), (-0.5, 2.5)]:
        ours = gradient(jnp.array([mean, np.log(std)]))
        slopes = [
            slow.squashed_entropy(mean + step, std, -1.0, 2.0)
            - slow.squashed_entropy(mean - step, std, -1.0, 2.0),
            slow.squashed_entropy(mean, std * np.exp(step), -1.0, 2.0)
            - slow.squashed_entropy(mean, std * np.exp(-step), -1.0, 2.0),
        ]
        np.testing.assert_allclose(ours, np.array(slopes) / (2 * step), atol=2e-3)


# ---------------------------------------------------------------------------------------------------
# bound


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("space", BOXES.values(), ids=BOXES)
def test_bounded_actions_are_inside(space, squash):
    raw = jnp.linspace(-30.0, 30.0, 41).reshape((41,) + (1,) * len(space.shape))
    raw = jnp.broadcast_to(raw, (41, *space.shape))
    bounded = jax.jit(partial(distributions.bound, space, squash=squash))(raw)
    assert bounded.shape == raw.shape
    assert jax.jit(jax.vmap(partial(contains, space)))(bounded).all()
    low, high = (np.broadcast_to(x, space.shape) for x in (space.low, space.high))
    np.testing.assert_allclose(bounded[0], low, rtol=1e-6)
    np.testing.assert_allclose(bounded[-1], high, rtol=1e-6)
    middle = np.clip(0.0, low, high) if not squash else (low + high) / 2
    np.testing.assert_allclose(bounded[20], middle, rtol=1e-6)


@pytest.mark.parametrize("high", [0.001, 0.01, 0.0013, 0.3])
def test_rounding_does_not_carry_an_action_past_a_bound(high):
    for low in (-1.0, -5.0, -0.7):
        space = Box(low, high, (1,))
        for raw in (-50.0, 50.0):
            assert contains(space, distributions.bound(space, jnp.array([raw]), squash=True))


def test_bound_keeps_an_action_inside_unchanged():
    space = Box(-1.0, 2.0, (3,))
    raw = jnp.array([-0.9, 0.1, 1.9])
    np.testing.assert_array_equal(distributions.bound(space, raw), raw)
    both = distributions.bound((Discrete(9), space), (jnp.int32(7), 10 * raw))
    np.testing.assert_array_equal(both[0], 7)
    np.testing.assert_array_equal(both[1], [-1.0, 1.0, 2.0])


# ---------------------------------------------------------------------------------------------------
# Pytrees of spaces


@pytest.mark.parametrize("squash", [False, True])
def test_a_pytree_is_the_sum_of_its_parts(squash):
    space = {
        "arm": Box(-1.0, 3.0, (2,)),
        "gear": Discrete(4),
        "more": (MultiDiscrete((2, 3)), Box(0.0, 1.0, ())),
    }
    assert distributions.num_outputs(space) == 2 + 4 + 5 + 1
    assert distributions.num_log_stds(space) == 3
    outputs = random(6, 15, seed=11)
    key = jax.random.key(0)
    action = jax.jit(lambda o: distributions.make(space, o, squash=squash).sample(key))(outputs)
    (log_prob,), entropy, mode = evaluate(space, outputs, jax.tree.map(lambda a: a[None], action), squash)
    # Part after part in the order of the tree, the log standard deviations at the end.
    parts = [
        (space["arm"], [0, 1, 12, 13], action["arm"], mode["arm"]),
        (space["gear"], [2, 3, 4, 5], action["gear"], mode["gear"]),
        (space["more"][0], [6, 7, 8, 9, 10], action["more"][0], mode["more"][0]),
        (space["more"][1], [11, 14], action["more"][1], mode["more"][1]),
    ]
    log_probs, entropies = 0.0, 0.0
    for part, columns, a, most_likely in parts:
        (p,), e, m = evaluate(part, outputs[:, columns], a[None], squash)
        log_probs, entropies = log_probs + p, entropies + e
        np.testing.assert_array_equal(m, most_likely)
    np.testing.assert_allclose(log_prob, log_probs, rtol=1e-5)
    np.testing.assert_allclose(entropy, entropies, rtol=1e-5)
    bounded = jax.jit(partial(distributions.bound, space, squash=squash))(action)
    assert jax.jit(jax.vmap(partial(contains, space)))(bounded).all()


def test_the_parts_of_a_pytree_are_drawn_independently():
    space = {"a": Discrete(3), "b": Discrete(3), "c": Box(-1.0, 1.0, (1,))}
    pi = distributions.make(space, jnp.zeros(8))
    action = draws(pi, 9_000)
    assert chi_square(3 * action["a"] + action["b"], np.full(9, 1 / 9)) > 0.01
    means = [action["c"][action["a"] == i].mean() for i in range(3)]
    assert np.abs(means).max() < 4 / np.sqrt(3_000)


def test_one_space_in_a_list_is_still_a_pytree():
    pi = distributions.make([Discrete(3)], jnp.zeros((4, 3)))
    action = jax.eval_shape(pi.sample, jax.random.key(0))
    assert isinstance(action, list)
    assert jax.eval_shape(pi.log_prob, action).shape == (4,)


# ---------------------------------------------------------------------------------------------------
# Divergences


def kl_of(space, p, q, action_mask=None):
    return np.asarray(jax.jit(partial(distributions.kl, space))(p, q, action_mask=action_mask))


def test_divergences_of_categoricals_match_scipy():
    p, q = random(4, 9, seed=20, scale=3.0), random(4, 9, seed=21, scale=3.0)
    theirs = stats.entropy(slow.categorical(p), slow.categorical(q), axis=-1)
    np.testing.assert_allclose(kl_of(Discrete(9), p, q), theirs, rtol=1e-4)
    np.testing.assert_allclose(slow.categorical_kl(slow.categorical(p), slow.categorical(q)), theirs)
    parts = [[slow.categorical(x[:, i:j]) for x in (p, q)] for i, j in ((0, 2), (2, 6), (6, 9))]
    theirs = sum(stats.entropy(*pair, axis=-1) for pair in parts)
    np.testing.assert_allclose(kl_of(MultiDiscrete((2, 4, 3)), p, q), theirs, rtol=1e-4)


@pytest.mark.parametrize("space", [Discrete(6), MultiDiscrete((2, 4))], ids=["discrete", "multi"])
def test_forbidden_actions_have_no_part_in_a_divergence(space):
    """Nor to its gradient, whatever their logits are."""
    mask = np.ones((3, 6), bool)
    mask[0, [0, 3]] = mask[1, [1, 4, 5]] = False
    p, q = random(3, 6, seed=22, scale=5.0), random(3, 6, seed=23, scale=5.0)
    cuts = ((0, 6),) if isinstance(space, Discrete) else ((0, 2), (2, 6))
    chosen = [[slow.categorical(x[:, i:j], mask[:, i:j]) for x in (p, q)] for i, j in cuts]
    ours = kl_of(space, p, q, mask)
    np.testing.assert_allclose(ours, sum(slow.categorical_kl(*pair) for pair in chosen), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(kl_of(space, p + 9.0 * ~mask, q - 30.0 * ~mask, mask), ours)
    slope = jax.jit(jax.grad(lambda q: distributions.kl(space, p, q, action_mask=mask).sum()))(q)
    assert np.isfinite(slope).all() and (np.asarray(slope)[~mask] == 0.0).all()


@pytest.mark.parametrize("space", BOXES.values(), ids=BOXES)
def test_divergences_of_gaussians_match_distrax(space):
    from distrax import MultivariateNormalDiag

    size = int(np.prod(space.shape))
    p, q = random(5, 2 * size, seed=24), random(5, 2 * size, seed=25)
    theirs = MultivariateNormalDiag(p[:, :size], np.exp(p[:, size:])).kl_divergence(
        MultivariateNormalDiag(q[:, :size], np.exp(q[:, size:]))
    )
    np.testing.assert_allclose(kl_of(space, p, q), theirs, rtol=1e-4)
    definition = slow.gaussian_kl(p[:, :size], np.exp(p[:, size:]), q[:, :size], np.exp(q[:, size:]))
    np.testing.assert_allclose(definition, theirs, rtol=1e-4)


@pytest.mark.parametrize("squash", [False, True])
def test_a_divergence_is_the_mean_of_log_ratios(squash):
    """By draws, over a pytree; squashed or not, for the slope of the tanh cancels."""
    space = {
        "arm": Box(-1.0, 3.0, (2,)),
        "gear": Discrete(4),
        "more": (MultiDiscrete((2, 3)), Box(0.0, 1.0, ())),
    }
    p, q = random(15, seed=26, scale=0.5), random(15, seed=27, scale=0.5)
    one, other = (distributions.make(space, jnp.asarray(x), squash=squash) for x in (p, q))
    actions = draws(one, 20_000)
    ratios = np.asarray(jax.jit(jax.vmap(lambda a: one.log_prob(a) - other.log_prob(a)))(actions))
    assert kl_of(space, p, q) == pytest.approx(ratios.mean(), abs=4 * ratios.std() / np.sqrt(20_000))
    assert kl_of(space, p, q) > 0.3


def test_self_divergence_and_its_gradient_are_zero():
    space = (Discrete(3), Box(-1.0, 1.0, (2,)))
    p = random(100, 7, seed=28)
    value, slope = jax.jit(jax.value_and_grad(lambda q: distributions.kl(space, p, q).sum()))(p)
    assert abs(float(value)) < 1e-5 and np.abs(slope).max() < 1e-6
    nearly = p + 1e-3 * random(100, 7, seed=29)
    assert (kl_of(space, p, nearly) > -1e-7).all()
