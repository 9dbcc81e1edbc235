"""The part of a state that checkpoints hold, as an algorithm's `keep` selects it, and its completion."""

from typing import Any

import jax

from jaxrl.types import Keep, PyTree


def require_part(keep: Keep, state: PyTree) -> None:
    """Raises ValueError unless `keep` returns part of the state.

    Args:
      state: its shapes, as returned by `jax.eval_shape`.
    """
    whole, part = (_by_path(jax.eval_shape(function, state)) for function in (lambda tree: tree, keep))
    for path, leaf in part.items():
        was = whole.get(path)
        if was is None or (was.shape, was.dtype) != (leaf.shape, leaf.dtype):
            found = "that is not in the state" if was is None else f"as {_shown(leaf)}, not {_shown(was)}"
            raise ValueError(
                f"keep returns {_name(path)} {found}: return the state with () for what is left out, as "
                "state.replace(replay=())"
            )
    if not part:
        raise ValueError("keep leaves out the whole state: a run could not be resumed")


def select(tree: PyTree, part: PyTree) -> PyTree:
    """The leaves of `tree` at the places of those of `part`, in the structure of `part`."""
    leaves = _by_path(tree)
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[path], part)


def complete(part: PyTree, fresh: PyTree) -> PyTree:
    """A whole state: the leaves of `part`, and those of `fresh` where there are none."""
    kept = _by_path(part)
    return jax.tree_util.tree_map_with_path(lambda path, leaf: kept.get(path, leaf), fresh)


def left_out(state: PyTree, part: PyTree) -> dict[str, int]:
    """What `part` does not have of `state`: bytes by name, a field of which nothing is kept as one entry."""
    kept = _by_path(part)
    some = {path[:1] for path in kept}
    missing: dict[str, int] = {}
    for path, leaf in _by_path(state).items():
        if path not in kept:
            name = _name(path if path[:1] in some else path[:1])
            missing[name] = missing.get(name, 0) + leaf.size * leaf.dtype.itemsize
    return missing


def _by_path(tree: PyTree) -> dict[Any, Any]:
    return dict(jax.tree_util.tree_leaves_with_path(tree))


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _shown(leaf) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
