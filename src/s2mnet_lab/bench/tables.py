"""The tables of a benchmark, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s2mnet_lab.bench.ratios import EAGER, MATRIX, OPENVINO, TORCH, fft_over_ours, ratios
from s2mnet_lab.bench.record import Bound, Case, Largest, Measurement, Rates, Record
from s2mnet_lab.bench.timing import REST_SECONDS
from s2mnet_lab.markdown import table

OURS = (EAGER, TORCH, OPENVINO)
CONDITIONS = f"""\
All contestants of a table took turns in one warm process, one call each per round, together with a square matrix
product by the faster of PyTorch's two libraries. Before each turn the process rests for {1000 * REST_SECONDS:.0f} ms,
in which the threads of the previous contestant stop. Times are medians, with quartiles in brackets. "Share" is the
FLOP/s reached divided by those of the matrix product (same precision, rounds and threads). GFLOPs count two for each
multiply-add of convolutions and matrix products (torch's counter); a training step counts as three forward passes.
Networks run eagerly in PyTorch, in bf16 by autocast, unless an engine is named; "compiled" is torch.compile, on a GPU.
Each peer has the faster memory format of contiguous and channels-last. Memory is the peak of a separate process in six
calls, beyond what the process held before it built the network; "alone" is the median time of the last five, in
milliseconds. A training step is forward, Dice + cross-entropy, backward and AdamW, for every network. Processes keep
the memory that they free, as our commands do, also for the peers. Only "straightforward", S2M-Net in torch's own
layers, runs as in a plain script, which returns memory to the system: its time alone is what a user of such a script
gets, and its turns beside the others profit from the memory that they left behind."""

BOUNDS = """\
The least time of S2M-Net on this machine. Every layer takes the longer of two times: its multiply-adds at the rate of a
matrix product, or its maps, read and written once, at the rate of a copy. Each exponential of an activation is the
eight multiply-adds of a polynomial. Everything else is free, as if fused. Layers whose maps stay in a cache can be
faster than their bytes. "Precise" are the dense layers that bf16 inference keeps in float32, because bf16 in them moves
boundaries."""

LARGEST = """\
The three largest groups of operations of S2M-Net, eager, each timed separately. The least time is that of the
multiply-adds at the rate of a matrix product or, where longer, of all tensors, read and written once, at the rate of a
copy. The longer one bounds the group, unless a cache holds its tensors."""


def tables(record: Record) -> str:
    """Everything measured, one table for each case, then what was left out.

    Example:
        >>> print(tables(Record(environment={}, device="cpu", threads=1, options={}, titles={})))
        Nothing was measured.
    """
    compared = ratios(record)
    parts = ["## Ratios", table(("what", "value"), compared)] if compared else []
    for title, section in (("Inference", "network"), ("Training step", "train")):
        for case, measured in record.of(section).items():  # type: ignore[arg-type]
            parts += [f"## {title}, {case.conditions}", _networks(record, case, measured)]
    if spectral := record.of("spectral"):
        parts += ["## Spectral branch, forward and backward", _spectral(record, spectral)]
    for case, measured in record.of("loss").items():
        parts += [f"## Loss, forward and backward, {case.conditions}", _loss(record, measured)]
    if record.bounds:
        parts += ["## Bounds", BOUNDS, *(_bound(record, one) for one in record.bounds)]
    if record.largest:
        parts += ["## Largest operations", LARGEST, *(_largest(one) for one in record.largest)]
    if record.left_out:
        rows = [(str(out.case), record.titles[out.contestant], out.reason) for out in record.left_out]
        parts += ["## Left out", table(("case", "network", "why"), rows)]
    return "\n\n".join(parts) or "Nothing was measured."


def processor(record: Record) -> str:
    """The processor and the threads that ran on it, or the GPU."""
    facts = record.environment
    kind = f" with {facts['instructions']}" if facts.get("instructions") else ""
    return facts.get("gpu") or f"{facts.get('cpu')}{kind}, {record.threads} threads of {facts.get('cpu_count')} cores"


def milliseconds(one: Measurement) -> str:
    """Median and quartiles.

    Example:
        >>> case = Case(section="network", size=64, batch=1)
        >>> milliseconds(Measurement(case=case, contestant="unet", seconds=[0.1, 0.2, 0.3]))
        '200 (150–250)'
    """
    low, middle, high = (number(1000 * seconds) for seconds in one.quartiles)
    return f"{middle} ({low}–{high})"


def _networks(record: Record, case: Case, measured: Sequence[Measurement]) -> str:
    per = "image" if case.section == "network" else "step"
    head = (
        "network",
        "parameters, M",
        f"GFLOPs per {per}",
        f"ms per {per}",
        "alone",
        "images per second",
        "memory, MB",
        "share",
    )
    rows = []
    for one in measured:
        images = case.batch if per == "image" else 1
        shown = one.model_copy(update={"seconds": [seconds / images for seconds in one.seconds]})
        form = "" if one.form == "channels_last" else ", contiguous"
        rows.append(
            (
                record.titles[one.contestant] + form,
                f"{(one.parameters or 0) / 1e6:.2f}",
                number((one.flops or 0) / images / 1e9),
                milliseconds(shown),
                number(1000 * one.alone / images) if one.alone else "–",
                number(case.batch / one.median),
                f"{(one.memory or 0) / 1e6:.0f}",
                f"{100 * (one.share_of_peak or 0):.0f} %",
            )
        )
    peak = np.median(measured[0].peak) / 1e9
    return table(head, rows) + f"\n\nMatrix product: {number(peak)} GFLOP/s."


def _spectral(record: Record, cases: dict[Case, list[Measurement]]) -> str:
    names = list(dict.fromkeys(one.contestant for ones in cases.values() for one in ones))
    rows = []
    for case, ones in sorted(cases.items(), key=lambda item: (item[0].size, item[0].batch, item[0].stage or 0)):
        by_name = {one.contestant: one for one in ones}
        ours = by_name.get(MATRIX)
        products = "–", "–"
        if ours and ours.flops and ours.share_of_peak:
            products = number(ours.flops / 1e9), f"{100 * ours.share_of_peak:.0f} %"
        where = f"{case.size}², stage {case.stage}, batch {case.batch}"
        times = [milliseconds(by_name[name]) if name in by_name else "–" for name in names]
        rows.append((where, *times, fft_over_ours(ones) or "–", *products))
    heads = [f"{record.titles[name]}, ms" for name in names]
    differences = "; ".join(
        f"{record.titles[name]}: {output:.1e} of the output, {gradient:.1e} of the gradient"
        for name, (output, gradient) in record.differences.items()
    )
    rest = f"\n\nLargest difference from ours, relative to the largest value — {differences}." if differences else ""
    return table(("map", *heads, "best FFT form over ours", "our GFLOP", "share"), rows) + rest


def _loss(record: Record, measured: Sequence[Measurement]) -> str:
    step = next((one.median for one in measured if one.contestant == "step"), None)
    share = [f"{100 * one.median / step:.1f} %" if step else "–" for one in measured]
    rows = [(record.titles[one.contestant], milliseconds(one), part) for one, part in zip(measured, share, strict=True)]
    return table(("what", "ms", "share of the step"), rows)


def _bound(record: Record, bound: Bound) -> str:
    rows = [
        (kind.name, number(kind.flops / 1e9), number(kind.bytes / 1e6), number(1000 * kind.seconds))
        for kind in bound.kinds
    ]
    rows.append(("all", "", "", number(1000 * bound.seconds)))
    text = f"{bound.case.label}; {_rates(bound.rates)}."
    reached = [one for one in record.of(bound.case.section).get(bound.case, []) if one.contestant in OURS]
    if reached:
        best = min(reached, key=lambda one: one.median)
        share = f"{100 * bound.seconds / best.median:.0f} %"
        text += f" Reached: {milliseconds(best)} ms ({record.titles[best.contestant]}), the bound is {share} of it."
    return f"{text}\n\n{table(('layers', 'GFLOP', 'MB', 'least ms'), rows)}"


def _largest(largest: Largest) -> str:
    rows = [
        (
            one.name,
            str(one.calls),
            number(1000 * one.seconds),
            f"{100 * one.share:.0f} %",
            number(one.flops / one.seconds / 1e9),
            number(one.bytes / one.seconds / 1e9),
            number(1000 * max(one.multiplying, one.moving)),
            "multiply-adds" if one.multiplying > one.moving else "memory",
        )
        for one in largest.operations
    ]
    heads = ("operations", "calls", "ms", "share", "GFLOP/s", "GB/s", "least ms", "bounded by")
    return f"{largest.case.label}; {_rates(largest.rates)}.\n\n{table(heads, rows)}"


def _rates(rates: Rates) -> str:
    dense, vector, memory = (number(rate / 1e9) for rate in (rates.dense, rates.vector, rates.memory))
    return f"{dense} GFLOP/s dense, {vector} in float32; {memory} GB/s"


def number(value: float) -> str:
    """Three significant digits; integers above 100.

    Example:
        >>> number(1234.4), number(12.34), number(0.01234)
        ('1234', '12.3', '0.0123')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
