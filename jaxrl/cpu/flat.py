"""All parameters of a small network as one vector."""

import jax
import optax

FEW = 2**15  # parameters; beyond, to copy them costs more than the operations that it saves


def as_vector(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same optimizer for all parameters as one vector, where they are few.

    An optimizer is half a dozen operations on each array of parameters, and a small network has a dozen
    arrays of which none fills a core or a GPU. On two cores PPO's gradient steps take 11 % less with
    9,000 parameters in one vector; with 60,000 they would take 8 % more. Whatever treats arrays apart
    (a trust ratio per layer, say) must not be given to it.
    """

    def chosen(params):
        few = sum(leaf.size for leaf in jax.tree.leaves(params)) < FEW
        return optax.flatten(optimizer) if few else optimizer

    return optax.GradientTransformation(
        lambda params: chosen(params).init(params),
        lambda updates, state, params=None: chosen(updates).update(updates, state, params),
    )
