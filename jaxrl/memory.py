"""Memory is checked before it is allocated: what arrays need, what is available, and one line if it is less.

A process that runs out of memory is killed, or aborts deep inside the compiler. An estimate counts only what
is certain to exist at the same time, such as the states of all agents: what does not fit cannot run, and what
might fit is not refused. For the same reason everything counts as available that the system could free.
"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax

from jaxrl.devices import GROUP
from jaxrl.reporters import size
from jaxrl.types import Algorithm, PyTree, Stream

EPISODE = 9  # bytes of an `Evaluation` for each episode
LANE = 12  # bytes of an agent in any case: its seed, and the two words of its key

OFF = "JAXRL_MEMORY_CHECK"  # "off" in the environment: nothing is refused


class NotEnough(ValueError):
    """More memory is needed than is available; one line that names the option to lower."""


def num_bytes(tree: PyTree) -> int:
    """The size of the arrays of a tree, which may be shapes from `jax.eval_shape`."""
    return sum(math.prod(leaf.shape) * _item_bytes(leaf) for leaf in jax.tree.leaves(tree))


def shard_bytes(tree: PyTree) -> int:
    """The part of the arrays of a tree that one device holds; every leaf has a sharding."""
    shards = ((math.prod(leaf.sharding.shard_shape(leaf.shape)), leaf) for leaf in jax.tree.leaves(tree))
    return sum(count * _item_bytes(leaf) for count, leaf in shards)


def evaluation_bytes(state: PyTree, lanes: float, num_episodes: int) -> float:
    """What an evaluation needs: its episodes, and the environments of the agents that play at a time.

    Args:
      state: of all agents, from whose `stream` `[P, N]` the size of an environment is known, if it has one.
      lanes: agents of this process.
    """
    stream = _stream(state)
    at_a_time = min(lanes, GROUP) if jax.default_backend() == "cpu" else lanes
    environment = num_bytes(stream) / math.prod(stream.timestep.reward.shape) if stream else 0.0
    return num_episodes * (lanes * EPISODE + at_a_time * environment)


def rollout_bytes(algo: Algorithm, state: PyTree, lanes: float, chunk: int) -> float:
    """What the observations of one update need, of the agents that are updated at a time.

    Args:
      algo: of one agent; 0 for one that does not `collect` all steps of an update before it learns.
      state, lanes: as in `evaluation_bytes`.
      chunk: agents at a time; 0: not chosen yet, so that it may be one.
    """
    stream = _stream(state)
    if not stream or algo.collect is None:
        return 0.0
    observation = num_bytes(stream.timestep.obs) / math.prod(stream.timestep.reward.shape)
    return min(lanes, max(chunk, 1)) * algo.steps_per_update * observation


def _stream(state: PyTree) -> Stream | None:
    stream = getattr(getattr(state, "agents", state), "stream", None)
    return stream if isinstance(stream, Stream) else None


def _item_bytes(leaf) -> int:
    return max(leaf.dtype.itemsize, 8 * jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def require(what: str, needs: Mapping[str, float], available: int | None) -> None:
    """Raises NotEnough if `needs` exceed what is available, unless JAXRL_MEMORY_CHECK=off.

    Args:
      what: the subject of the message.
      needs: bytes that are needed at the same time, by the option that lowers them; the message names the
        option of the largest.
      available: bytes, as returned by `on_devices` or `on_machine`; None: unknown, so nothing is refused.
    """
    needed = sum(needs.values())
    if available is None or needed <= available or os.environ.get(OFF) == "off":
        return
    option = max(needs, key=lambda name: needs[name])
    raise NotEnough(
        f"{what}: at least {size(needed)} of memory needed and {size(max(0, available))} available: lower "
        f"{option}, or set {OFF}=off to try it nevertheless"
    )


def on_devices() -> int | None:
    """Bytes available on the devices of this process together; on a CPU, on the machine. None: unknown."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if all("bytes_limit" in one for one in stats):
        return sum(one["bytes_limit"] - one["bytes_in_use"] for one in stats)
    return on_machine() if jax.default_backend() == "cpu" else None


def on_machine(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process can allocate: the least of what machine, containers and `ulimit -v` leave.

    Args:
      proc, groups: where Linux mounts the files of processes and of control groups.
    """
    limits, swap = [], 0
    try:
        machine = _fields(proc / "meminfo")
        swap = machine.get("SwapFree", 0)
        limits.append(machine["MemAvailable"] + swap)
    except (OSError, KeyError, ValueError):  # not Linux: the whole memory
        if (pages := _system("SC_PHYS_PAGES")) and (page := _system("SC_PAGE_SIZE")):
            limits.append(pages * page)
    limits += [left + swap for left in _left_in_groups(proc, groups)]
    limits += _left_of_addresses(proc)
    return min(limits, default=None)


def _system(name: str) -> int:
    try:
        return max(0, os.sysconf(name))
    except (AttributeError, ValueError, OSError):
        return 0


def _fields(path: Path) -> dict[str, int]:
    """The sizes in a file of /proc, in bytes: `MemFree: 12 kB`."""
    pairs = (line.split(":", 1) for line in path.read_text().splitlines() if line.endswith(" kB"))
    return {name: int(text.split()[0]) * 1024 for name, text in pairs}


def _left_in_groups(proc: Path, groups: Path) -> Iterator[int]:
    """What the control groups of this process leave, and those around them: containers, Slurm, systemd.

    Inside a container the group's path may be that of the host, while its files are at the root.
    """
    try:
        lines = [line.split(":", 2) for line in (proc / "self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, name in (line for line in lines if len(line) == 3):
        if not controllers:  # version 2
            root, limit, used, total = groups, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):  # version 1
            root, total = groups / "memory", "total_"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        place = Path(os.path.normpath(name.lstrip("/")))
        for folder in {root / place, *(root / parent for parent in place.parents)}:
            try:
                free = int((folder / limit).read_text()) - int((folder / used).read_text())
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield free + sum(int(stat.get(f"{total}{kind}_file", 0)) for kind in ("active", "inactive"))
            except (OSError, ValueError):  # no such group, or no limit, which is written as "max"
                continue


def _left_of_addresses(proc: Path) -> Iterator[int]:
    """What `ulimit -v` leaves."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            yield limit - _fields(proc / "self/status")["VmSize"]
    except (ImportError, OSError, KeyError, ValueError):
        return
