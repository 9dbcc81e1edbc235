"""The time from the start of rejax's PPO until its first update is done. Prints one JSON line."""

import json
import os
import sys
import time

import train_rejax
from protocol import channel, versions


def main():
    settings = json.loads(sys.argv[1])
    answer = channel()
    begun = time.time()
    train_rejax.load()
    imported = time.time()
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):  # the cold start writes it, the warm one reads it
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    contestant = train_rejax.make(settings)
    contestant.run(1)
    done = time.time()
    answer(
        seconds=done - settings["started"],
        stages={
            "interpreter": begun - settings["started"],
            "other imports": imported - begun,
            "all after imports": done - imported,
        },
        versions=versions(settings["packages"]),
        source=contestant.source,
    )


if __name__ == "__main__":
    main()
