"""Tell whether the examples were read as they must be: python .ci/examples.py EXAMPLES NAME.

The folder that this runs in holds what ``molgaze score --json`` and ``molgaze read -o`` wrote.
"""

import csv
import json
import sys
from pathlib import Path

LEAST = 0.94  # share of the examples that is read right; one of eighteen may be wrong

examples, name = Path(sys.argv[1]), sys.argv[2]
(score,) = json.loads(Path("score.json").read_text(encoding="utf-8")).values()
exact, count = score["total"]["exact"], score["total"]["pictures"]
with open("readings.csv", newline="", encoding="utf-8") as table:
    read = {Path(row["source"]).name for row in csv.DictReader(table)}
with open(examples / "examples.csv", newline="", encoding="utf-8") as table:
    wanted = {row["file"] for row in csv.DictReader(table)} | {"paper.pdf"}
told = f"{name}: the wheel reads {exact:.1%} of {count} examples"
print(told)
if exact < LEAST or wanted - read:
    raise SystemExit(f"{told}, without {sorted(wanted - read)}: expected {LEAST:.0%} and all")
