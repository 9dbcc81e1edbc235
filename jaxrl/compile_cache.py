"""Where compiled programs are kept on disk, so that the next process need not compile them."""

import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


def cache_folder() -> Path:
    """Where compiled programs are kept: JAXRL_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxrl"
    return Path(os.environ.get("JAXRL_CACHE") or default)


def enable_compile_cache() -> None:
    """Keeps every compiled program on disk for the next start; JAXRL_CACHE=off turns it off.

    A JAX_COMPILATION_CACHE_DIR of the user's stands.
    """
    chosen = getattr(jax.config, "jax_compilation_cache_dir", None)
    if os.environ.get("JAXRL_CACHE") == "off" or chosen:
        return
    folder = cache_folder() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written costs a compile, not the run
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # a process that has compiled already would never look for a cache again
