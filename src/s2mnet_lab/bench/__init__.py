"""The benchmark: networks, the spectral branch and the loss, timed side by side in one run.

| what | file |
|---|---|
| the networks | `contestants.py` |
| what is timed: inference and training step | `work.py` |
| the spectral branch against FFT forms | `spectral.py` |
| MASL against Dice + cross-entropy | `loss.py` |
| rounds and time budget | `timing.py` |
| multiplications, peak memory | `flops.py`, `memory.py` |
| least time on a machine, largest operations | `bound.py`, `operations.py` |
| a run and its record, several runs in one record | `run.py`, `record.py`, `merge.py` |
| tables, charts, the page of a machine, the summary | `ratios.py`, `tables.py`, `charts.py`, `write.py`, `summary.py` |
"""

from s2mnet_lab.bench.merge import load_records
from s2mnet_lab.bench.record import Case, Measurement, Record
from s2mnet_lab.bench.run import Request, run_bench
from s2mnet_lab.bench.write import write_machine, write_page, write_record

__all__ = [
    "Case",
    "Measurement",
    "Record",
    "Request",
    "load_records",
    "run_bench",
    "write_machine",
    "write_page",
    "write_record",
]
