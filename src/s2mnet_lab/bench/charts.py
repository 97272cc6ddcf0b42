"""The charts of a benchmark, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2mnet.pages.drawing import draw_figure
from s2mnet_lab.bench.record import Case, Measurement, Record, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OURS, _PEER = "#0072B2", "#8a939c"


def charts(record: Record) -> dict[str, bytes]:
    """SVG by name, for what was measured: "inference" and "training" (bars), "sizes" and "spectral"."""
    drawn: dict[str, bytes] = {}
    for name, section in (("inference", "network"), ("training", "train")):
        if cases := record.of(section):  # type: ignore[arg-type]
            drawn[name] = _bars(record, _shown(cases), "image" if section == "network" else "step")
    sizes = {case.size for case in record.of("network")}
    if len(sizes) > 1:
        drawn["sizes"] = _sizes(record, "network")
    if spectral := record.of("spectral"):
        drawn["spectral"] = _stages(record, spectral)
    return drawn


def _shown(cases: dict[Case, list[Measurement]]) -> list[tuple[Case, list[Measurement]]]:
    """One case for each precision: the size nearest 352, then the smallest batch."""
    best: dict[str, Case] = {}
    for case in sorted(cases, key=lambda case: (abs(case.size - 352), case.batch)):
        best.setdefault(case.precision, case)
    return [(case, cases[case]) for case in best.values()]


def _bars(record: Record, shown: Sequence[tuple[Case, list[Measurement]]], per: str) -> bytes:
    most = max(len(measured) for _, measured in shown)

    def draw(figure: Figure) -> None:
        for axes, (case, measured) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            images = case.batch if per == "image" else 1
            ordered = sorted(measured, key=lambda one: -one.median)
            for place, one in enumerate(ordered):
                low, middle, high = (1000 * seconds / images for seconds in one.quartiles)
                colour = _OURS if one.contestant.startswith("s2mnet") else _PEER
                axes.barh(place, middle, xerr=[[middle - low], [high - middle]], color=colour, ecolor="#333333")
            axes.set_yticks(range(len(ordered)), [record.titles[one.contestant] for one in ordered])
            axes.set(xlabel=f"ms per {per}", title=f"{case.size}², batch {case.batch}, {case.precision}")
            axes.grid(visible=False, axis="y")

    return draw_figure(draw, (5.6 * len(shown), 1.2 + 0.32 * most))


def _sizes(record: Record, section: Section) -> bytes:
    cases = record.of(section)
    batch, precision = min((case.batch, case.precision != "float32") for case in cases)
    kind = "bf16" if precision else "float32"
    lines: dict[str, list[tuple[int, float]]] = {}
    for case, measured in cases.items():
        for one in measured if (case.batch, case.precision) == (batch, kind) else []:
            lines.setdefault(one.contestant, []).append((case.size, 1000 * one.median / batch))

    lines = {name: points for name, points in lines.items() if len(points) > 1} or lines

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for count, (name, points) in enumerate(lines.items()):
            ours = name.startswith("s2mnet")
            sides, times = zip(*sorted(points), strict=True)
            mark = "osv^Dx+*<>ph"[count % 12]
            axes.plot(
                sides,
                times,
                marker=mark,
                markersize=4.5,
                color=_OURS if ours else f"C{1 + count % 9}",
                label=record.titles[name],
            )
        axes.set(xscale="log", yscale="log", xlabel="side of the image", ylabel="ms per image")
        axes.set_xticks(sorted({side for points in lines.values() for side, _ in points}))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_title(f"batch {batch}, {kind}")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    return draw_figure(draw, (7.4, 4.2))


def _stages(record: Record, cases: dict[Case, list[Measurement]]) -> bytes:
    first = min((case.size, case.batch) for case in cases)
    shown = {case.stage: measured for case, measured in cases.items() if (case.size, case.batch) == first}
    names = list(dict.fromkeys(one.contestant for measured in shown.values() for one in measured))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        width = 0.8 / len(names)
        for index, name in enumerate(names):
            places = {s: one.median for s, measured in shown.items() for one in measured if one.contestant == name}
            offset = (index - (len(names) - 1) / 2) * width
            colour = (_OURS, "#D55E00", _PEER, "#E69F00")[index % 4]
            x, y = [stage + offset for stage in places if stage], [1000 * seconds for seconds in places.values()]
            axes.bar(x, y, width, color=colour, label=record.titles[name])
        axes.set(xlabel="stage", ylabel="ms, forward and backward", title=f"{first[0]}², batch {first[1]}")
        axes.legend()

    return draw_figure(draw, (6.4, 3.4))
