"""A network (flax.linen) for the values of a number of actions, or for the distributions of their returns."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.cores import NONE
from jaxrl.layers import dense
from jaxrl.types import PyTree

NUM_COSINES = 64  # of an embedding; n in the paper


class QNetwork(nn.Module):
    """Outputs for each of `A` actions; called in the same way as `networks.ActorCritic`, without memory.

    Attributes:
      torso: a module `[..., *obs] -> [..., F]`.
      num_actions: `A`.
      num_atoms: numbers for each action, `K`; if not 1, outputs are `[..., A, K]`.
      dueling: outputs are relative to their mean over the actions, to which a value from another head is
        added. Wang et al. 2016. https://arxiv.org/abs/1511.06581
      implicit: outputs are quantiles at `K` fractions, each with its fraction, `[..., A, K, 2]`.
      layer: `(features, scale, name) -> module`, the last layer.
    """

    torso: nn.Module
    num_actions: int
    num_atoms: int = 1
    dueling: bool = False
    implicit: bool = False
    layer: Callable[..., nn.Module] = dense
    core = NONE  # it remembers nothing

    def setup(self) -> None:
        each = 1 if self.implicit else self.num_atoms
        self.head = self.layer(self.num_actions * each, 1.0, name="Dense_0")
        if self.dueling:
            self.value_head = self.layer(each, 1.0)
        if self.implicit:
            self.embedding = FractionEmbedding(self.num_atoms)

    def __call__(self, memory: PyTree, x: jax.Array, first: jax.Array) -> tuple[PyTree, jax.Array]:
        """One step of `[..., *obs]`; returns memory and outputs, `[..., A]` if they are one per action."""
        features = self.torso(x)
        if not self.implicit:
            outputs = self._of_actions(features)
            return memory, outputs[..., 0] if self.num_atoms == 1 else outputs
        features, fractions = self.embedding(features)
        quantiles = jnp.swapaxes(self._of_actions(features)[..., 0], -1, -2)
        fractions = jnp.broadcast_to(fractions[..., None, :], quantiles.shape)
        return memory, jnp.stack([quantiles, fractions], axis=-1)

    def _of_actions(self, features):
        outputs = self.head(features)
        outputs = outputs.reshape((*outputs.shape[:-1], self.num_actions, -1))
        if self.dueling:
            outputs += self.value_head(features)[..., None, :] - outputs.mean(axis=-2, keepdims=True)
        return outputs

    def initial_memory(self, num_envs: int) -> PyTree:
        """`()`."""
        return self.core.initial(num_envs)


class FractionEmbedding(nn.Module):
    """The features of a state for each of `K` fractions tau of the distribution of its return.

        x_f relu(b_f + sum_i cos(pi i tau_k) w_if),   i = 0 .. 63

    With `apply(..., rngs={"noise": key})` the fractions are drawn from a uniform distribution, for each state
    others; without the key they are (2 k + 1) / (2 K), with which a mean has no variance. Dabney et al. 2018,
    "Implicit quantile networks for distributional reinforcement learning", equation 4,
    https://arxiv.org/abs/1806.06923.
    """

    num_fractions: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Of features `[..., F]`: features `[..., K, F]` and fractions `[..., K]`."""
        shape = (*x.shape[:-1], self.num_fractions)
        if self.has_rng("noise"):
            fractions = jax.random.uniform(self.make_rng("noise"), shape, jnp.float32)
        else:
            middles = (2.0 * jnp.arange(self.num_fractions) + 1.0) / (2.0 * self.num_fractions)
            fractions = jnp.broadcast_to(middles, shape)
        cosines = jnp.cos(jnp.pi * jnp.arange(NUM_COSINES) * fractions[..., None])
        return x[..., None, :] * nn.relu(dense(x.shape[-1])(cosines)), fractions
