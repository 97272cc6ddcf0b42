"""Ratios of contestants that took turns in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from s2mnet_lab.bench.record import Case, Measurement, Record

MANY_PARAMETERS = 4_000_000
EAGER, TORCH, OPENVINO = "s2mnet", "s2mnet-torch", "s2mnet-openvino"
MATRIX, LEAN = "matrix", "rfft-lean"  # in the spectral section: ours; a form that trains other parameters than ours
PLAIN, PLAIN_KEPT = "s2mnet-straightforward", "s2mnet-straightforward-kept"

Row = tuple[str, str]


def ratios(record: Record) -> list[Row]:
    """(what, value) for every ratio that the record has figures for.

    Example:
        >>> case = Case(section="train", size=352, batch=8)
        >>> measured = [Measurement(case=case, contestant=name, seconds=[s]) for name, s in ((PLAIN, 12), (EAGER, 3))]
        >>> ratios(Record(environment={}, device="cpu", threads=2, options={}, titles={}, measurements=measured))
        [('training step, 352², batch 8, float32: straightforward form over ours, time', '4.00')]
    """
    rows: list[Row] = []
    for case, measured in record.of("network").items():
        rows += _inference(case, {one.contestant: one for one in measured}, record)
    for case, measured in record.of("train").items():
        rows += _training(case, {one.contestant: one for one in measured}, record)
    rows += _growth(record)
    rows += _spectral(record)
    for case, measured in record.of("loss").items():
        times = {one.contestant: one.median for one in measured}
        if "masl" in times and "step" in times:
            rows.append(
                (f"MASL, {case.conditions}: share of the training step", _percent(times["masl"] / times["step"]))
            )
    return rows


def _inference(case: Case, measured: dict[str, Measurement], record: Record) -> Iterator[Row]:
    what = f"inference, {case.conditions}"
    float32 = _same_case(record, case, "float32")
    for name in (TORCH, OPENVINO):
        if name not in measured:
            continue
        engine = "torch engine" if name == TORCH else "OpenVINO"
        share = measured[name].share_of_peak
        if share:
            yield f"{what}: share of the matrix product's peak, {engine}", _percent(share)
        for plain, title in ((PLAIN, "straightforward form"), (EAGER, "our network, eager")):
            if plain in float32:
                title = f"{title} in float32" if case.precision == "bf16" else title
                yield f"{what}: {title} over {engine}, time", f"{float32[plain].median / measured[name].median:.2f}"
                yield from _alone(f"{what}: {title} over {engine}", float32[plain], measured[name])
    engines = ((EAGER, "eager PyTorch", ""), (OPENVINO, "OpenVINO", "-openvino"))
    for ours, engine, ending in engines:
        peers = [
            one
            for name, one in measured.items()
            if not name.startswith("s2mnet")
            and name.endswith("-openvino") == bool(ending)
            and (one.parameters or 0) > MANY_PARAMETERS
        ]
        if ours in measured and peers:
            fastest = min(peers, key=lambda one: one.median)
            title = f"{what}: fastest peer over 4 M parameters over ours, {engine}, time"
            yield title, f"{fastest.median / measured[ours].median:.2f} ({record.titles[fastest.contestant]})"


def _training(case: Case, measured: dict[str, Measurement], record: Record) -> Iterator[Row]:
    if EAGER not in measured:
        return
    what, ours = f"training step, {case.conditions}", measured[EAGER]
    for name, title in ((PLAIN, "straightforward form"), (PLAIN_KEPT, "the same with freed memory kept")):
        if name in measured:
            yield f"{what}: {title} over ours, time", f"{measured[name].median / ours.median:.2f}"
            yield from _alone(f"{what}: {title} over ours", measured[name], ours)
            if measured[name].memory and ours.memory:
                yield f"{what}: ours over {title}, peak memory", f"{ours.memory / (measured[name].memory or 1):.2f}"
    float32 = _same_case(record, case, "float32")
    if case.precision == "bf16" and PLAIN in float32:
        yield f"{what}: straightforward form in float32 over ours, time", f"{float32[PLAIN].median / ours.median:.2f}"
        yield from _alone(f"{what}: straightforward form in float32 over ours", float32[PLAIN], ours)
    share = ours.share_of_peak
    if share:
        yield f"{what}: share of the matrix product's peak", _percent(share)


def _growth(record: Record) -> Iterator[Row]:
    times = {(one.contestant, one.case): one for measured in record.of("network").values() for one in measured}
    for (name, case), small in times.items():
        large = times.get((name, case.model_copy(update={"size": 1024})))
        if case.size == 256 and large and name.startswith("s2mnet"):
            what = f"growth from 256² to 1024² over that in pixels, batch {case.batch}, {case.precision}"
            yield f"{what}, {record.titles[name]}: time", f"{large.median / small.median / 16:.2f}"
            if small.memory and large.memory:
                yield f"{what}, {record.titles[name]}: memory", f"{large.memory / small.memory / 16:.2f}"


def _spectral(record: Record) -> Iterator[Row]:
    """Compared with the FFT forms that have our parameters, and with all FFT forms."""
    by_batch: dict[tuple[int, int], dict[int, list[Measurement]]] = {}
    for case, measured in record.of("spectral").items():
        by_batch.setdefault((case.size, case.batch), {})[case.stage or 0] = measured
    for (size, batch), stages in by_batch.items():
        ordered = [stages[stage] for stage in sorted(stages)]
        for left_out, which in ((LEAN, "FFT form with our parameters"), ("", "FFT form of all")):
            for ours, compared in (
                ("ours", fft_over_ours),
                ("our products at the full rate of a matrix product", fft_over_bound),
            ):
                values = [value for measured in ordered if (value := compared(measured, left_out))]
                if values:
                    what = f"spectral branch, {size}², batch {batch}: fastest {which} over {ours}, stages 1 to 5, time"
                    yield what, ", ".join(values)


def fft_over_ours(measured: Sequence[Measurement], left_out: str = "") -> str:
    """Time of the fastest FFT form divided by that of the matrix products; empty if either was not measured."""
    ratio = _fft_over_ours(measured, left_out)
    return f"{ratio:.2f}" if ratio else ""


def fft_over_bound(measured: Sequence[Measurement], left_out: str = "") -> str:
    """The same divided by the least time of our products, at the full rate of a matrix product: the upper limit."""
    ratio = _fft_over_ours(measured, left_out)
    share = next((one.share_of_peak for one in measured if one.contestant == MATRIX), None)
    return f"{ratio / share:.2f}" if ratio and share else ""


def _fft_over_ours(measured: Sequence[Measurement], left_out: str) -> float | None:
    times = {one.contestant: one.median for one in measured}
    others = [seconds for name, seconds in times.items() if name not in (MATRIX, left_out)]
    return min(others) / times[MATRIX] if MATRIX in times and others else None


def _alone(what: str, slow: Measurement, fast: Measurement) -> Iterator[Row]:
    if slow.alone and fast.alone:
        yield f"{what}, each in a process of its own, time", f"{slow.alone / fast.alone:.2f}"


def _same_case(record: Record, case: Case, precision: str) -> dict[str, Measurement]:
    measured = record.of(case.section).get(case.model_copy(update={"precision": precision}), [])
    return {one.contestant: one for one in measured}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
