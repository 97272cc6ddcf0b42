"""The share of the network's own throughput that prediction of a folder reaches, with and without overlays."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import torch
from torch import nn

from s2mnet import Predictor
from s2mnet.data import find_images, read_image
from s2mnet.engines import build
from s2mnet.errors import S2MNetError
from s2mnet.inference import normalise, prepare_image
from s2mnet.prediction import predict_folder
from s2mnet_lab.markdown import table

WARM = 8  # images before the clock starts

Work = Callable[[Callable[[int, int], None]], object]


class Cost(NamedTuple):
    """Milliseconds per image: elapsed, and of all processor cores together."""

    wall: float
    cpu: float


def measure_throughput(
    run: Path, images: Path, engine: Literal["torch", "openvino"] = "torch", tta: int = 1, rounds: int = 3
) -> str:
    """Let the network alone and the prediction of a folder take turns; return a Markdown table of medians.

    In each round the network runs on inputs that are ready, then :func:`s2mnet.prediction.predict_folder` predicts the
    same images without and with overlays. Start-up (the first images of each) is not counted. Where the network fills
    every core, its share of processor time limits its share of the throughput. Elapsed times need an idle machine;
    processor times tolerate some other load.

    Args:
        run: a trained model of whole images.
        images: folder with more than eight images.
        engine: see :mod:`s2mnet.engines`.
        tta: test-time transforms that are averaged.
        rounds: number of rounds.

    Raises:
        S2MNetError: a model of windows, too few images, or another number of transforms than 1, 4 or 8.
    """
    if tta not in (1, 4, 8):
        raise S2MNetError("--tta", f"is {tta}", "Use 1, 4 or 8.")
    predictor = Predictor(run, "cpu", engine)
    settings = predictor.config.preprocessing
    if settings.extent != "whole":
        raise S2MNetError(run, "holds a model of windows", "Name a run trained on whole images.")
    paths = find_images(images)
    if len(paths) <= WARM:
        problem = f"holds {len(paths)} images; the first {WARM} only warm up"
        raise S2MNetError(images, problem, "Name a folder with more images.")
    planes = [torch.from_numpy(prepare_image(read_image(path), settings))[None] / 255 for path in paths]
    inputs = [normalise(x, settings).contiguous(memory_format=torch.channels_last) for x in planes]

    def folder(overlays: bool) -> Work:
        def work(progress: Callable[[int, int], None]) -> None:
            with tempfile.TemporaryDirectory() as out:
                predict_folder(predictor, images, Path(out), overlays, tta=tta, progress=progress)

        return work

    works = {
        "network alone": network_alone(build(predictor.network, predictor.engine), inputs, tta),
        "folder, masks": folder(overlays=False),
        "folder, masks and overlays": folder(overlays=True),
    }
    costs = [{name: timed(work, len(paths)) for name, work in works.items()} for _ in range(rounds)]
    size, threads = f"{settings.size[0]}×{settings.size[1]}", torch.get_num_threads()
    rows = []
    for name in works:
        row = [name]
        for kind in ("wall", "cpu"):
            share = median(getattr(one["network alone"], kind) / getattr(one[name], kind) for one in costs)
            row += [f"{median(getattr(one[name], kind) for one in costs):.1f}", f"{share:.0%}"]
        rows.append(row)
    head = ("what", "ms per image", "share of the network", "CPU ms per image", "share of the network's CPU")
    conditions = f"{len(paths)} images, {size}, {engine}, {threads} threads, tta {tta}, {rounds} rounds"
    return f"{conditions}\n\n{table(head, rows)}"


def timed(work: Work, count: int) -> Cost:
    """The cost of an image in ``work``, which calls its argument with the number of finished images and of all."""
    begun: list[float] = []

    def progress(done: int, _: int) -> None:
        if done == WARM:
            begun.extend((time.perf_counter(), time.process_time()))

    work(progress)
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return Cost(1e3 * wall / (count - WARM), 1e3 * cpu / (count - WARM))


def network_alone(network: nn.Module, inputs: list[torch.Tensor], tta: int) -> Work:
    """The network on prepared inputs (1, channels, h, w), each ``tta`` times."""

    @torch.no_grad()
    def work(progress: Callable[[int, int], None]) -> None:
        for done, x in enumerate(inputs, 1):
            for _ in range(tta):
                network(x)
            progress(done, len(inputs))

    return work
