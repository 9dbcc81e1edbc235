"""A policy as StableHLO, in the file format of `jax.export`.

    exported = jax.export.deserialize(bytearray(open("policy.stablehlo", "rb").read()))
    answer = exported.call(obs=obs)                         # of any number of observations
    answer["action"], answer["outputs"]
    print(exported.mlir_module())                           # the program as text

A recurrent policy takes `memory=` `[N, M]`, zeros at the start of an episode, and returns `answer["memory"]`;
one that was trained with masks takes `action_mask=` bool `[N, K]`. It runs on CPU, CUDA, ROCm and TPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxrl.artifact.recipe import Recipe, build, leaves, step

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def to_stablehlo(recipe: Recipe) -> bytes:
    """The policy of one seed as bytes for `jax.export.deserialize`."""

    def act(obs, memory=None, action_mask=None):
        parts = [jnp.asarray(x) for x in leaves(recipe.observation, obs)]
        new_memory, actions, outputs = step(jnp, recipe, parts, memory, action_mask)
        answer = {"action": build(recipe.action, actions), "outputs": outputs}
        return answer | ({"memory": new_memory} if recipe.memory_size else {})

    (size,) = export.symbolic_shape("N")

    def like(dtype, *shape):
        return jax.ShapeDtypeStruct((size, *shape), np.dtype(dtype))

    parts = [like(part.dtype, *part.shape) for part in recipe.observation_parts]
    inputs = {"obs": build(recipe.observation, parts)}
    if recipe.memory_size:
        inputs["memory"] = like("float32", recipe.memory_size)
    if recipe.masked:
        inputs["action_mask"] = like("bool", recipe.num_outputs)
    return bytes(export.export(jax.jit(act), platforms=PLATFORMS)(**inputs).serialize())
