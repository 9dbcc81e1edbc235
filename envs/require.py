"""Checks of the parameters of environments; traced values cannot be checked."""

from numbers import Integral
from typing import Any

import jax
import numpy as np


def require_count(name: str, value: Any, least: int) -> None:
    """Raises ValueError unless `value` is a whole number known in Python, `least` or more."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(f"{name} determines array shapes and cannot be traced")
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")


def require_probability(**values: Any) -> None:
    """Raises ValueError for a number that is not between 0 and 1."""
    for name, value in values.items():
        if not isinstance(value, jax.core.Tracer) and not np.all((value >= 0.0) & (value <= 1.0)):
            raise ValueError(f"{name} must be between 0 and 1, not {value!r}")
