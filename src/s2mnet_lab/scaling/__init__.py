"""What 10 million images take: throughput, cost, storage, and what breaks first.

| what | file |
|---|---|
| what is done to a folder | `steps.py` |
| processor time, memory and bytes of that, measured | `growth.py` |
| the same at 10 million, extrapolated | `extrapolate.py` |
| throughput, cost and storage, from a benchmark | `cost.py` |
| docs/scaling.md | `page.py` |
"""

IMAGES = 10_000_000
SIZE = 352  # side of the network's input
