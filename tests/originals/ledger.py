"""Differences between the ports and their originals: every differential test records its comparison.

    JAXRL_LEDGER=rows.jsonl pytest tests/originals tests/originals/test_misc_worlds.py -m "slow or not slow"
    python tests/originals/ledger.py rows.jsonl        # the table of docs/environments.md

tests/golden/originals.jsonl was written by the last full run.
"""

import json
import os
import sys


def record(environment: str, original: str, transitions: int, largest: float, note: str = "") -> None:
    """One row: `original` with its version, the transitions compared, the largest difference of any field."""
    row = dict(
        environment=environment, original=original, transitions=transitions, largest=float(largest), note=note
    )
    if path := os.environ.get("JAXRL_LEDGER"):
        with open(path, "a") as file:
            file.write(json.dumps(row) + "\n")


def table(rows: list[dict]) -> str:
    """Rows as a Markdown table; of equal environment and original, the one with most transitions."""
    most: dict[tuple, dict] = {}
    for row in rows:
        key = row["environment"], row["original"]
        if row["transitions"] >= most.get(key, row)["transitions"]:
            most[key] = row
    lines = ["| environment | original | transitions | largest difference | |", "| --- " * 5 + "|"]
    for _, row in sorted(most.items()):
        largest = "0" if row["largest"] == 0 else f"{row['largest']:.1e}"
        cells = (row["environment"], row["original"], f"{row['transitions']:,}", largest, row["note"])
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(table([json.loads(line) for line in file]))
