"""``docs/performance.md``: every machine in one table and one chart.

Each machine has a JSON file beside its page with the figures that the summary shows. The summary can therefore be
rewritten without the records of the other machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ValidationError

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.pages.drawing import draw_figure
from s2mnet_lab.bench.ratios import EAGER, MANY_PARAMETERS, OPENVINO, PLAIN, TORCH
from s2mnet_lab.bench.record import Case, Measurement, Record
from s2mnet_lab.bench.tables import number, processor
from s2mnet_lab.markdown import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEP = Case(section="train", size=352, batch=8)
SHOWN = (
    Case(section="network", size=352, batch=1),
    Case(section="network", size=352, batch=1, precision="bf16"),
    _STEP,
    _STEP.model_copy(update={"precision": "bf16"}),
    _STEP.model_copy(update={"size": 128}),
)
CHARTED = (SHOWN[0], _STEP)
KINDS = {"ours": "#0072B2", "straightforward": "#D55E00", "peer": "#8a939c", "limit": "#222222"}
TITLES = {"ours": "ours", "straightforward": "straightforward", "peer": "best peer", "limit": "limit"}


class Value(BaseModel):
    """A figure, and the network and engine that reached it."""

    value: float
    title: str = ""


class Row(BaseModel):
    """One row of the table for one machine.

    Attributes:
        what: such as "inference, 352², batch 1, float32".
        unit: of the values.
        ours: S2M-Net in the best of its forms.
        straightforward: S2M-Net in PyTorch's own layers.
        peer: the best other network with more than 4 million parameters, in any engine.
        limit: the least time on the machine, see `s2mnet_lab.bench.bound`.
    """

    what: str
    unit: Literal["ms", "GB"]
    ours: Value
    straightforward: Value | None = None
    peer: Value | None = None
    limit: Value | None = None


class Summary(BaseModel):
    """The rows of one machine.

    Attributes:
        title: short name of the machine.
        processor: its name in the operating system.
        date: day of the measurements, ISO 8601.
        remark: a caveat about the figures.
    """

    title: str
    processor: str
    date: str
    remark: str = ""
    rows: list[Row]


def summarise(record: Record, title: str) -> Summary:
    """The summary of a record. Cases that were not measured are left out."""
    rows: list[Row] = []
    for case in SHOWN:
        row = _row(record, case, case.label, "ms", lambda one: 1000 * one.median)
        bound = next((bound for bound in record.bounds if bound.case == case), None)
        if row and bound:
            row.limit = Value(value=1000 * bound.seconds)
        memory = None
        if case == _STEP:
            memory = _row(record, case, f"{case.label}: peak memory", "GB", lambda one: one.memory and one.memory / 1e9)
        rows += [one for one in (row, memory) if one]
    date = str(record.environment.get("date"))[:10]
    return Summary(title=title, processor=processor(record), date=date, rows=rows)


def _row(
    record: Record, case: Case, what: str, unit: Literal["ms", "GB"], value: Callable[[Measurement], float | None]
) -> Row | None:
    measured = record.of(case.section).get(case, [])

    def best(chosen: Callable[[Measurement], bool]) -> Value | None:
        known = [(v, one.contestant) for one in measured if chosen(one) and (v := value(one)) is not None]
        least = min(known, default=None)
        return Value(value=least[0], title=record.titles[least[1]]) if least else None

    ours = best(lambda one: one.contestant in (EAGER, TORCH, OPENVINO))
    plain = best(lambda one: one.contestant == PLAIN)
    peer = best(lambda one: not one.contestant.startswith("s2mnet") and (one.parameters or 0) > MANY_PARAMETERS)
    return Row(what=what, unit=unit, ours=ours, straightforward=plain, peer=peer) if ours else None


def write_summary(folder: Path) -> Path:
    """Write the page of a folder of machines, such as docs/performance, beside it, and its chart into it.

    Args:
        folder: holds a page and a JSON file for each machine.

    Raises:
        S2MNetError: a JSON file that is damaged, or a place that cannot be written to.
    """
    machines = {}
    for file in sorted(folder.glob("*.json")):
        try:
            machines[file.stem] = Summary.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as error:
            problem = f"is not the summary of a machine ({' '.join(str(error).split())[:200]})"
            raise S2MNetError(file, problem, "Restore it, or write it again with s2mnet-lab performance.") from None
    page = folder.with_suffix(".md")
    write_atomically(folder / "summary.svg", chart(list(machines.values())))
    write_atomically(page, summary_page(machines, folder.name).encode())
    return page


def summary_page(machines: dict[str, Summary], folder: str) -> str:
    """The page, with links into ``folder``."""
    kinds = list(dict.fromkeys(row.what for machine in machines.values() for row in machine.rows))
    rows = [
        (what, *(_cell(row, kind) for kind in KINDS), machine.title)
        for what in sorted(kinds, key=_order)
        for machine in machines.values()
        for row in machine.rows
        if row.what == what
    ]
    pages = [
        f"- [{machine.title}]({folder}/{name}.md): {machine.processor}; {machine.date}"
        for name, machine in machines.items()
    ]
    remarks: dict[str, list[str]] = {}
    for machine in machines.values():
        if machine.remark:
            remarks.setdefault(machine.remark, []).append(machine.title)
    return TEXT.format(
        folder=folder,
        table=table(("what", *TITLES.values(), "machine"), rows),
        remarks="".join(f"\n**{', '.join(titles)}:** {remark}\n" for remark, titles in remarks.items()),
        machines="\n".join(pages),
    )


def _order(what: str) -> int:
    labels = [case.label for case in SHOWN]
    return labels.index(what.partition(":")[0])


def _cell(row: Row, kind: str) -> str:
    """The value, and in brackets its ratio to ours, and the network and engine that reached it."""
    shown: Value | None = getattr(row, kind)
    if shown is None:
        return "–"
    text = f"{number(shown.value)} {row.unit}"
    if kind == "ours":
        engine = shown.title.removeprefix("S2M-Net").removeprefix(", ")
        return f"{text} ({engine})" if engine else text
    ratio = f"{shown.value / row.ours.value:.2f} ×"
    return f"{text} ({ratio}, {shown.title})" if kind == "peer" else f"{text} ({ratio})"


def chart(machines: Sequence[Summary]) -> bytes:
    """Inference and training step at 352² in float32, a group of bars for each machine, as SVG."""

    def draw(figure: Figure) -> None:
        for axes, case in zip(figure.subplots(1, len(CHARTED)), CHARTED, strict=True):
            for offset, (kind, colour) in enumerate(KINDS.items()):
                values = [
                    (place, shown.value)
                    for place, machine in enumerate(machines)
                    for row in machine.rows
                    if row.what == case.label and (shown := getattr(row, kind))
                ]
                places = [place + 0.2 * (offset - 1.5) for place, _ in values]
                axes.bar(places, [value for _, value in values], 0.2, color=colour, label=TITLES[kind])
            axes.set_xticks(range(len(machines)), [machine.title for machine in machines])
            axes.set(ylabel="ms", title=case.label)
            axes.grid(visible=False, axis="x")
        figure.axes[0].legend()

    return draw_figure(draw, (11, 3.8))


TEXT = """\
# Performance

Written by `s2mnet-lab performance`, not by hand.

![Time of one image and of one training step on each machine]({folder}/summary.svg)

**Ours** is the best form of S2M-Net that the commands use: OpenVINO or PyTorch for inference, PyTorch for training.
**Straightforward** is S2M-Net in PyTorch's own layers. **Best peer** is the best other network with more than 4 million
parameters, in either engine. **Limit** is the time that the processor needs for the multiplications, exponentials and
memory traffic of S2M-Net at its measured full rate. The ratio to ours is in brackets. Times are medians of one image or
one step; the networks of a row took turns in one run.

{table}
{remarks}
## Machines

Every network, size and quartile, the spectral branch against FFTs, and the loss:

{machines}

## Measure a machine

On an idle machine, run the parts one after the other, then write its page and this one from their records. `--minutes`
limits each part; the most expensive networks are left out first. On a GPU add `--batch 8 --batch 32 --precision bf16`
to inference and training; there networks are also compiled as a whole. 128² in batches of 8 is what a plan trains on a
CPU.

```
s2mnet-lab bench --only network --size 352 --batch 1 --repeats 11 --minutes 20 -o runs/bench/network
s2mnet-lab bench --only network --size 256 --size 1024 --batch 1 --repeats 5 --minutes 4 -o runs/bench/growth \\
    --contestant s2mnet --contestant s2mnet-torch --contestant s2mnet-openvino --contestant segresnet
s2mnet-lab bench --only train --size 352 --batch 8 --repeats 5 --minutes 14 -o runs/bench/train \\
    --contestant s2mnet --contestant s2mnet-straightforward --contestant s2mnet-straightforward-kept \\
    --contestant segresnet
s2mnet-lab bench --only train --size 128 --batch 8 --repeats 9 --minutes 6 -o runs/bench/default \\
    --contestant s2mnet --contestant s2mnet-straightforward --contestant s2mnet-straightforward-kept
s2mnet-lab bench --only spectral --size 352 --repeats 9 -o runs/bench/spectral
s2mnet-lab bench --only loss --size 352 --batch 8 --repeats 5 -o runs/bench/loss
s2mnet-lab bench --only bound --size 352 -o runs/bench/bound
s2mnet-lab bench --only operations --size 352 -o runs/bench/operations
s2mnet-lab performance zen5 runs/bench/*/bench.json --title "AMD Zen 5"
```
"""
