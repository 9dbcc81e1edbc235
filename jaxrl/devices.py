"""How agents, or the environments of one agent, are divided among cores, accelerators and processes."""

import os
import warnings
from collections.abc import Callable, Sequence

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrl.replay.lanes import holds_replay
from jaxrl.types import PyTree

GROUP = 8  # agents that a CPU vectorizes over: the fastest of 1, 2, 8 and all, measured with 64 agents


def lanes_for(agents: int) -> int:
    """A number of lanes for this many agents, rounded up by at most a quarter.

    Rounding keeps the number of programs to compile small (1, 2, 4, 6, ... 16, 20, ... 32, 40, ...), and
    lets the agents be divided among the devices.
    """
    step = max(2, 2 ** (agents.bit_length() - 3)) if agents > 1 else 1
    return -(-agents // step) * step


def use_cores(quiet: bool = False) -> None:
    """Makes JAX expose every CPU core as a separate device, so that a population can use all cores.

    With small networks a single device hardly uses a second core; two devices are twice as fast. This has an
    effect only before JAX has started its backend, and only if the user has not set the number of devices.

    Args:
      quiet: do not warn if the backend has already started.
    """
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or jax.config.jax_num_cpu_devices != -1:  # type: ignore[attr-defined]  # JAX defines it when imported
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:
        if not quiet and 1 == jax.device_count() < cores and jax.default_backend() == "cpu":
            text = "train.use_cores() has no effect: JAX has started already; call it before anything else"
            warnings.warn(text, stacklevel=2)


def mesh(size: int) -> Mesh:
    """The devices over which `size` agents are distributed, on an axis `agents`; their number divides `size`.

    If there are several processes, each takes an equal share.

    Raises:
      ValueError: the agents cannot be divided equally among the processes.
    """
    processes = jax.process_count()
    if size % processes:
        possible = " or ".join(str(n) for n in range(1, processes) if size % n == 0)
        raise ValueError(
            f"{size} lanes of agents cannot be shared out evenly among {processes} processes: take "
            f"{possible} of them, or another number of agents"
        )
    shares = [jax.local_devices(process_index=process) for process in range(processes)]
    most = min(len(share) for share in shares)
    count = max(n for n in range(1, most + 1) if size // processes % n == 0)
    return Mesh([device for share in shares for device in share[:count]], ("agents",))


def over_agents(
    function: Callable[..., PyTree], in_axes: Sequence[int | None], mesh: Mesh | None = None, chunk: int = 0
) -> Callable[..., PyTree]:
    """`jax.vmap(function, in_axes)` over agents, divided in the way that is fastest on this machine.

    Each device processes its share independently. A CPU device vectorizes over `GROUP` agents at a time: more
    than one, for fewer and larger operations, but not more than fit into its cache. Other devices vectorize
    over all of their agents, and so do all devices over states that hold a replay, which a loop over groups
    would copy.

    Args:
      in_axes: 0 or None for each argument.
      mesh: devices (see `mesh`); None: the default device.
      chunk: agents at a time on a device; 0: as described above. Ignored for states that hold a replay.
    """
    at_a_time = chunk or (GROUP if jax.default_backend() == "cpu" else 0)

    def share(*args):
        if not at_a_time or holds_replay(args):
            return jax.vmap(function, in_axes)(*args)
        agents = [x for x, axis in zip(args, in_axes) if axis == 0]

        def one(agent):
            own = iter(agent)
            return function(*(next(own) if axis == 0 else x for x, axis in zip(args, in_axes)))

        size = jax.tree.leaves(agents)[0].shape[0]
        return jax.lax.map(one, agents, batch_size=at_a_time if size > 1 else None)

    if mesh is None or mesh.size == 1:
        return share
    by_agent = PartitionSpec("agents")
    specs = tuple(by_agent if axis == 0 else PartitionSpec() for axis in in_axes)
    return jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=by_agent, check_vma=False)


def mesh_of_environments(num_envs: int) -> Mesh:
    """All devices of all processes on an axis `envs`, for the environments of one large agent.

    Raises:
      ValueError: the environments cannot be divided equally among the devices.
    """
    devices = jax.devices()
    if num_envs % len(devices):
        raise ValueError(
            f"num_envs = {num_envs} cannot be shared out evenly among {len(devices)} devices: take a "
            f"multiple, or another number of devices (JAX_NUM_CPU_DEVICES on a CPU)"
        )
    return Mesh(devices, ("envs",))


def split_environments(mesh: Mesh, state: PyTree) -> PyTree:
    """The shardings of a state `[1, ...]`: along the axis `N` of its `stream`."""
    num_envs = state.stream.timestep.reward.shape[1]

    def where(leaf):
        own = len(leaf.shape) > 1 and leaf.shape[1] == num_envs
        return NamedSharding(mesh, PartitionSpec(None, "envs") if own else PartitionSpec())

    whole = jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), state)
    return whole.replace(stream=jax.tree.map(where, state.stream))
