"""How far our environments are from their originals: every differential test records what it compared.

`JAXRL_LEDGER=FILE pytest tests/originals -m ""` writes the rows as JSON lines; docs/environments.md shows them.
"""

import json
import os


def record(environment: str, original: str, transitions: int, largest: float, note: str = "") -> None:
    """One row: `original` with its version, the transitions compared, the largest difference of any field."""
    row = dict(
        environment=environment, original=original, transitions=transitions, largest=float(largest), note=note
    )
    if path := os.environ.get("JAXRL_LEDGER"):
        with open(path, "a") as file:
            file.write(json.dumps(row) + "\n")
