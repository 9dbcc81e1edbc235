"""The time of imports in a new process. Prints one JSON line."""

import importlib
import json
import sys
import time

from protocol import channel, versions


def main():
    settings = json.loads(sys.argv[1])
    answer = channel()
    begun = time.perf_counter()
    first, *_ = [importlib.import_module(name) for name in settings["modules"]]
    seconds = time.perf_counter() - begun
    answer(seconds=seconds, stages={}, versions=versions(settings["packages"]), source=first.__file__)


if __name__ == "__main__":
    main()
