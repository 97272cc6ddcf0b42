"""The share of the network's own throughput that predicting a folder reaches, with and without overlays.

    python experiments/throughput.py RUN IMAGES [--engine openvino] [--tta 1] [--rounds 3]

RUN is a folder that ``s2mnet train`` wrote, with a model of whole images, IMAGES a folder of images. In each round the
network alone, on inputs that are ready, and :func:`s2mnet.prediction.predict_folder` without and with overlays take
turns on the same images; the figures are medians over the rounds, without start-up (the first images of each). The
network's threads are torch's (``OMP_NUM_THREADS``). Beside the time stands the time of all processor cores together:
where the network already fills every core, the network's share of that time bounds its share of the throughput. Times
by the clock mean something on an idle machine only; those of the cores bear some other load.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import nn

from s2mnet import Predictor
from s2mnet.allocator import keep_freed_memory
from s2mnet.data import find_images, read_image
from s2mnet.engines import build
from s2mnet.inference import normalise, prepare_image
from s2mnet.prediction import predict_folder

WARM = 8  # images before the clock starts


class Cost(NamedTuple):
    """Milliseconds of an image: by the clock, and of all cores together."""

    wall: float
    cpu: float


def timed(work: Callable[[Callable[[int, int], None]], object], count: int) -> Cost:
    """What an image costs in ``work``, which calls what it is given with the images done and in all."""
    begun: list[float] = []

    def progress(done: int, _: int) -> None:
        if done == WARM:
            begun.extend((time.perf_counter(), time.process_time()))

    work(progress)
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return Cost(1e3 * wall / (count - WARM), 1e3 * cpu / (count - WARM))


def network_alone(network: nn.Module, inputs: list[torch.Tensor], tta: int) -> Callable[..., None]:
    """The network on ready inputs (1, channels, h, w), each ``tta`` times."""

    @torch.no_grad()
    def work(progress: Callable[[int, int], None]) -> None:
        for done, x in enumerate(inputs, 1):
            for _ in range(tta):
                network(x)
            progress(done, len(inputs))

    return work


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--engine", choices=["torch", "openvino"], default="torch")
    parser.add_argument("--tta", type=int, choices=[1, 4, 8], default=1)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    keep_freed_memory()  # as the commands do
    predictor = Predictor(asked.run, "cpu", asked.engine)
    settings = predictor.config.preprocessing
    if settings.extent != "whole":
        raise SystemExit(f"{asked.run}: a model of windows; name one of whole images")
    paths = find_images(asked.images)
    planes = [torch.from_numpy(prepare_image(read_image(path), settings))[None] / 255 for path in paths]
    inputs = [normalise(x, settings).contiguous(memory_format=torch.channels_last) for x in planes]

    def folder(overlays: bool) -> Callable[..., object]:
        def work(progress: Callable[[int, int], None]) -> None:
            with tempfile.TemporaryDirectory() as out:
                predict_folder(predictor, asked.images, Path(out), overlays, tta=asked.tta, progress=progress)

        return work

    works = {
        "network alone": network_alone(build(predictor.network, predictor.engine), inputs, asked.tta),
        "folder, masks": folder(overlays=False),
        "folder, masks and overlays": folder(overlays=True),
    }
    rounds = [{name: timed(work, len(paths)) for name, work in works.items()} for _ in range(asked.rounds)]
    size, threads = f"{settings.size[0]}×{settings.size[1]}", torch.get_num_threads()
    print(f"{len(paths)} images, {size}, {asked.engine}, {threads} threads, tta {asked.tta}, {asked.rounds} rounds")
    print("| | ms an image | share of the network | CPU ms an image | share of the network's CPU |")
    print("|---|---|---|---|---|")
    for name in works:
        wall, cpu = (median(getattr(r[name], part) for r in rounds) for part in ("wall", "cpu"))
        share, part = (
            median(getattr(r["network alone"], kind) / getattr(r[name], kind) for r in rounds)
            for kind in ("wall", "cpu")
        )
        print(f"| {name} | {wall:.1f} | {share:.0%} | {cpu:.1f} | {part:.0%} |")


if __name__ == "__main__":
    main()
