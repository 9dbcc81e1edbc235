"""Training in several processes: how they connect, agree, fail together, and share arrays.

In a single process, every function here returns its input.
"""

from jaxrl.hosts.agreement import (
    Elsewhere,
    by_leader,
    everyone,
    leads,
    report_failure,
    require_same,
    several,
    together,
)
from jaxrl.hosts.arrays import fetch, place
from jaxrl.hosts.joining import joined

__all__ = [
    "Elsewhere",
    "by_leader",
    "everyone",
    "fetch",
    "joined",
    "leads",
    "place",
    "report_failure",
    "require_same",
    "several",
    "together",
]
