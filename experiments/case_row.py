"""One picture of a finished run: image, prediction with reference, and errors of its median test case.

    python experiments/case_row.py RUN DATA OUT.png

RUN is a folder that ``s2mnet train`` wrote, DATA the folder it was trained on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from s2mnet import Predictor
from s2mnet.data import find_cases, load_case
from s2mnet.evaluation.examples import best_median_worst
from s2mnet.evaluation.results import Evaluation
from s2mnet.files import write_png
from s2mnet.overlay import as_rgb, errors, overlay
from s2mnet.pages.embed import enlarge

GAP = 8


def case_row(run: Path, data: Path) -> np.ndarray:
    """The three pictures side by side, (H, W, 3) uint8."""
    predictor = Predictor(run)
    evaluation = Evaluation.model_validate_json((run / "evaluation" / "test" / "metrics.json").read_bytes())
    name = best_median_worst(evaluation)["median"].name
    case = next(case for case in find_cases(data).splits["test"] if case.name == name)
    image, truth = load_case(case, predictor.config.labels)
    picture = enlarge(as_rgb(image), smooth=True)
    indices, truth = (enlarge(mask, smooth=False) for mask in (predictor.predict(image).indices, truth))
    panels = [picture, overlay(picture, indices, truth, thickness=2), errors(picture, indices, truth)]
    gap = np.full((len(picture), GAP, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    write_png(Path(sys.argv[3]), case_row(Path(sys.argv[1]), Path(sys.argv[2])))
