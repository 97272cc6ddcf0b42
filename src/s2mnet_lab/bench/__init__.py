"""The benchmark: networks, spectral branch and loss, timed side by side in one run.

| what | file |
|---|---|
| which networks | `contestants.py` |
| what is timed of them: inference and training step | `work.py` |
| the spectral branch against two FFT forms | `spectral.py` |
| MASL against Dice + cross-entropy | `loss.py` |
| rounds, medians, budget | `timing.py` |
| multiplications, peak memory | `flops.py`, `memory.py` |
| the whole run | `run.py`, `record.py` |
| tables, charts, files | `tables.py`, `charts.py`, `write.py` |
"""

from s2mnet_lab.bench.record import Case, Measurement, Record
from s2mnet_lab.bench.run import Request, run_bench
from s2mnet_lab.bench.write import write_page, write_record

__all__ = ["Case", "Measurement", "Record", "Request", "run_bench", "write_page", "write_record"]
