"""A process that measures items in turn: a JSON list in the first argument, a JSON line for each result."""

import json
import sys
import time
import traceback


def main() -> None:
    from protocol import channel

    items = json.loads(sys.argv[1])
    answer = channel()
    begun = time.perf_counter()
    from gpu_items import KINDS, environment

    from jaxrl.compile_cache import enable_compile_cache

    enable_compile_cache()
    import jax

    jax.devices()
    answer(item="start", seconds=time.perf_counter() - begun, environment=environment())
    for item in items:
        begun = time.perf_counter()
        settings = dict(item["settings"])
        try:
            result = {"result": KINDS[item["kind"]](**settings)}
        except Exception as error:
            traceback.print_exc()
            result = {"failed": f"{type(error).__name__}: {error}"[:500]}
        answer(item=item["name"], seconds=time.perf_counter() - begun, **result)


if __name__ == "__main__":
    main()
