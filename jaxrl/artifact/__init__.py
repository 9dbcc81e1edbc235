"""Trained policies without JAX: `load` acts in NumPy; ONNX, C and StableHLO are written from the same recipe.

A policy is described once, as a list of plain operations (`recipe`), from its network and its parameters
(`describe`); NumPy, `to_stablehlo`, `to_onnx` and `to_c` walk that list. Importing this package does not
import JAX.
"""

from jaxrl.artifact.policy import Policy, load

__all__ = ["Policy", "load"]
