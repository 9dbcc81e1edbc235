"""The names of the wrappers around an environment."""

from jaxrl.types import Env


def layered(name: str, inner: Env, outer: Env) -> Env:
    """Labels an environment with the names of its wrappers, innermost first: algorithms check their order."""
    layers = (*getattr(inner.step, "layers", ()), name)
    outer.step.layers = layers  # type: ignore[attr-defined]  # functions take any attribute
    return outer
