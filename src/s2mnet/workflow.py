"""The main workflow: folder → plan → training → model → test → report."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from s2mnet.console import Console
from s2mnet.data import Case, ImageFolder, find_cases, load_case
from s2mnet.data.cases import Split
from s2mnet.data.labels import LabelMap, LabelRule
from s2mnet.device import Precision, choose_device
from s2mnet.engines import EngineName
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.examples import predict_examples
from s2mnet.evaluation.folders import evaluate_folders, evaluate_masks, is_data_folder
from s2mnet.evaluation.results import Evaluation, evaluate, save, table
from s2mnet.fingerprint import Fingerprint, read_folder
from s2mnet.modelfolder import CONFIG
from s2mnet.plan import Plan, Training, default_start, encoder_of, make_plan, this_machine
from s2mnet.prediction import Predictor
from s2mnet.progress import progress_bar
from s2mnet.provenance import environment, training_precision
from s2mnet.report.run import REPORT, write_run_report
from s2mnet.text import counted
from s2mnet.training.distributed import connect, from_main, is_main
from s2mnet.training.run import PLAN, reserved, train
from s2mnet.training.start import with_network_of_start


def run_training(
    data: Path,
    run: Path,
    plan_file: Path | None = None,
    labels: LabelRule = "auto",
    resume: bool = False,
    console: Console | None = None,
    command: str | None = None,
    device: str = "auto",
    **options: Any,
) -> Path:
    """``s2mnet train``: read and check the folder, plan, train, test the best model and write the report.

    Args:
        data: folder of images and masks (:func:`s2mnet.data.find_cases`).
        run: folder to write to.
        plan_file: a plan to follow; None makes one.
        labels: how to read the masks; "auto" follows a given plan.
        resume: continue the run in ``run`` with its plan.
        command: shown in the report; None is the command line.
        device: see :func:`s2mnet.device.choose_device`.
        **options: of :func:`s2mnet.plan.make_plan`; None leaves the decision to it. ``start`` and the fields of
            :class:`s2mnet.plan.Training` override those of a given plan; with ``resume`` only minutes, epochs,
            workers, lr and precision do. With one of the last two, a state with NaN is replaced by the best model.

    With several processes (``torchrun -m s2mnet train …``), one makes the plan, tests and writes.

    Returns:
        Path of the report.

    Raises:
        S2MNetError: something is wrong with the folder, the plan or the run; raised before training starts.
    """
    connect(choose_device(device))
    console = (console or Console()) if is_main() else Console(quiet=True)
    with reserved(run, resume):
        folder = find_cases(data)
        given = _given_plan(run, plan_file, resume, options)
        rule = given.labels if given and labels == "auto" else labels
        fingerprint = from_main(lambda: read_with_progress(folder, rule))

        def make() -> Plan:
            plan = given or _new_plan(fingerprint, device, options)
            return plan if resume else with_network_of_start(plan, given is None, run)

        plan = from_main(make)
        if fingerprint.label_map and plan.labels.values != fingerprint.label_map.values:
            problem = f"has masks with the values {fingerprint.label_map.values}; the plan has {plan.labels.values}"
            raise S2MNetError(data, problem, "Use the plan with the data it was made for.")
        describe(console, folder, fingerprint, plan)
        recover = bool({"lr", "precision"} & {name for name, value in options.items() if value is not None})
        history = train(folder, plan, run, resume, console, recover=recover, device=device)
        return finish(folder, fingerprint, plan, run, console, history, command, device) if is_main() else run / REPORT


def write_plan(data: Path, file: Path | None, labels: LabelRule = "auto", device: str = "auto", **options: Any) -> Plan:
    """``s2mnet plan``: read and check the folder, and write what :func:`run_training` would do.

    Args:
        data: folder of images and masks.
        file: the YAML file to write; None only prints. It must not exist: someone may have edited it.
        labels: how to read the masks.
        device: see :func:`s2mnet.device.choose_device`.
        **options: of :func:`s2mnet.plan.make_plan`.

    Raises:
        S2MNetError: something is wrong with the folder or an option.
    """
    if file and file.exists():
        raise S2MNetError(file, "already exists", "Choose another name with -o, or delete the file.")
    folder = find_cases(data)
    fingerprint = read_with_progress(folder, labels)
    plan = with_network_of_start(_new_plan(fingerprint, device, options), made=True)
    describe(Console(), folder, fingerprint, plan)
    if file:
        plan.save(file)
    return plan


def read_with_progress(folder: ImageFolder, labels: LabelRule | LabelMap) -> Fingerprint:
    """:func:`~s2mnet.fingerprint.read_folder` with a progress bar."""
    with progress_bar("reading") as advance:
        return read_folder(folder, labels, advance)


def _new_plan(fingerprint: Fingerprint, device: str, options: Mapping[str, Any]) -> Plan:
    """A plan for this machine, which trains the network to be planned for a moment to time it."""
    start = options.get("start") or default_start(options.get("preset"))
    return make_plan(fingerprint, machine=this_machine(device, encoder=encoder_of(start)), **options)


def _given_plan(run: Path, plan_file: Path | None, resume: bool, options: Mapping[str, Any]) -> Plan | None:
    """The given plan with the options that override it; any other option is an error rather than ignored."""
    if not (resume or plan_file):
        return None
    source = run / PLAN if resume or not plan_file else plan_file
    plan = Plan.load(source)
    allowed = {"minutes", "epochs", "workers", "lr", "precision"}
    if not resume:
        allowed = {*Training.model_fields, "start"} - {"preset"}
    overrides = {name: value for name, value in options.items() if value is not None}
    if overrides.get("start") == plan.start:
        del overrides["start"]  # agrees with the plan, with --resume, too
    for name in sorted(set(overrides) - allowed):
        option, how = "--" + name.replace("_", "-"), "--resume" if resume else "--plan"
        fix = "Start a new run instead." if resume else f"Change it in {source}, or omit {how}."
        raise S2MNetError(f"{option} {overrides[name]}", f"cannot be combined with {how}: {source} decides it", fix)
    if start := overrides.pop("start", None):
        reasons = {**plan.reasons, "start": f"{start}: requested"}
        plan = plan.model_copy(update={"start": start, "reasons": reasons})
    return plan.with_training(**overrides)


def finish(
    folder: ImageFolder,
    fingerprint: Fingerprint,
    plan: Plan,
    run: Path,
    console: Console,
    history: Sequence[Mapping[str, Any]],
    command: str | None = None,
    device: str = "auto",
) -> Path:
    """Test the best model of a run on the test split, or on validation if there is none, and write the report."""
    split: Split = "test" if folder.splits.get("test") else "val"
    predictor = Predictor(run, device, engine="torch")  # so that repeating a run elsewhere gives the same figures
    cases = folder.splits[split]
    provenance = {
        "command": command or command_line(),
        "data": str(folder.root),
        "seed": plan.training.seed,
        "started from": start.model_dump() if (start := predictor.config.started_from) else None,
        "training precision": training_precision(history),
        "fast forms": ", ".join(history[-1].get("fast_forms", [])) or "none" if history else None,
        "engine": predictor.engine,
        "device": str(choose_device(device)),
        **environment(),
    }
    evaluation = evaluate_cases(predictor, cases, split, None, console).with_context(
        split=split, tta=plan.tta, **provenance
    )
    save(evaluation, run / "evaluation" / split)
    console.print(table(evaluation))
    examples = predict_examples(predictor, cases, evaluation)
    network = predictor.network
    return write_run_report(run, folder.name, plan, fingerprint, network, evaluation, examples, split, provenance)


def evaluate_cases(
    predictor: Predictor, cases: list[Case], split: str, tta: int | None = None, console: Console | None = None
) -> Evaluation:
    """Predict each case at its own size, with a progress bar, and compare it with its mask; prints the time it took.

    Patients, volumes and spacing from ``cases.csv`` are used as in :func:`~s2mnet.evaluation.results.evaluate`.

    Args:
        predictor: the model; its labels say how the masks are read.
        cases: images with masks.
        split: the name of this split, kept in the result.
        tta: see :meth:`s2mnet.Predictor.predict`.
        console: a quiet one shows no progress.

    Raises:
        S2MNetError: an unreadable file, a mask of another size or with a label that the model does not know.
    """
    console = console or Console()

    def pairs() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for case in cases:
            image, truth = load_case(case, predictor.config.labels)
            yield case.name, predictor.predict(image, tta).indices, truth

    structures, facts = predictor.config.labels.structures, {case.name: case.facts for case in cases}
    started = time.monotonic()
    with progress_bar(f"testing on {split}", show=not console.quiet) as advance:
        done = evaluate(
            pairs(), structures, progress=lambda done, _: advance(done, len(cases)), split=split, facts=facts
        )
    console.print(f"tested {counted(len(cases), 'image')} of {split} in {(time.monotonic() - started) / 60:.1f} min")
    return done


def describe(console: Console, folder: ImageFolder, fingerprint: Fingerprint, plan: Plan) -> None:
    """Print what the folder holds and what training will do, before it takes hours."""
    counts = ", ".join(f"{count} {split}" for split, count in fingerprint.counts.items())
    console.print(f"[bold]data[/]    {escape(str(folder.root))}: {counts} (split: {fingerprint.split_rule})")
    reasons = {"labels": plan.labels.describe(), **plan.reasons}
    console.print(f"[bold]labels[/]  {escape(reasons.pop('labels'))}")
    for what, reason in reasons.items():
        console.print(f"[bold]plan[/]    {what}: {escape(reason)}")
    for warning in fingerprint.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}")


def command_line() -> str:
    """The command line, as a record of how its figures were made."""
    return " ".join(["s2mnet", *sys.argv[1:]])


def evaluate_against(
    source: Path,
    truth: Path,
    split: str = "test",
    tta: int | None = None,
    labels: LabelRule = "auto",
    engine: EngineName = "auto",
    precision: Precision = "float32",
    device: str = "auto",
) -> Evaluation:
    """``s2mnet evaluate``: a run on a data folder, or a folder of predicted masks against true masks.

    Args:
        source: a run folder if it holds a model, else a folder of masks.
        truth: a folder as :func:`s2mnet.data.find_cases` reads it; for a folder of masks also a folder of true masks:
            images, or NIfTI volumes, which are measured in 3-D.
        split: "test", "val", "train" or "all", of a data folder.
        tta: see :meth:`s2mnet.Predictor.predict`.
        labels: how to read the masks, if masks are compared.
        engine, precision, device: for a run, see :class:`s2mnet.Predictor`.

    Raises:
        S2MNetError: a folder or file cannot be read, or does not match its counterpart.
    """
    is_run = (source / CONFIG).is_file()
    if not is_run and not is_data_folder(truth):
        with progress_bar("measuring") as progress:
            result = evaluate_folders(source, truth, labels, progress)
        return result.with_context(command=command_line(), **environment())
    folder = find_cases(truth)
    cases = folder.cases_of(split)
    if not cases:
        splits = ", ".join(name for name, part in folder.splits.items() if part)
        raise S2MNetError(truth, f"has no {split} split, only {splits}", "Use --split with one of these, or all.")
    if not is_run:
        with progress_bar("measuring") as progress:
            result = evaluate_masks(source, folder, split, labels, progress)
        return result.with_context(command=command_line(), **environment())
    predictor = Predictor(source, device, engine, precision)
    if predictor.notice:
        Console(stderr=True).print(f"note: {predictor.notice}", markup=False, soft_wrap=True)
    result = evaluate_cases(predictor, cases, split, tta, Console())
    used = predictor.config.tta if tta is None else tta
    return result.with_context(
        command=command_line(),
        data=str(truth),
        split=split,
        tta=used,
        engine=predictor.engine,
        precision=precision,
        **environment(),
    )
