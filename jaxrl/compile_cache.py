"""The persistent cache of compiled programs, so that the next process need not compile them."""

import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


def cache_folder() -> Path | None:
    """The folder for compiled programs: JAXRL_CACHE, or the user's cache folder; None without a home folder.

    There is no other default: whoever could write into a folder like /tmp could replace the programs.
    """
    if chosen := os.environ.get("JAXRL_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxrl"
    except RuntimeError:  # no HOME, and no entry in the table of users
        return None


def enable_compile_cache() -> None:
    """Stores every compiled program on disk for later processes; JAXRL_CACHE=off disables this.

    If the user has set JAX_COMPILATION_CACHE_DIR, it is not changed.
    """
    chosen = getattr(jax.config, "jax_compilation_cache_dir", None)
    if os.environ.get("JAXRL_CACHE") == "off" or chosen:
        return
    if not (parent := cache_folder()):
        return
    folder = parent / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # without a writable folder, programs are compiled again
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # JAX checks for a cache only once, at the first compilation
