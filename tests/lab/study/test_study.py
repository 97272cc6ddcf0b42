"""Study files: what they can say, and that those of the repository can be run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s2mnet.architecture import OURS
from s2mnet.datasets.catalogue import named
from s2mnet.errors import S2MNetError
from s2mnet.loss import MASL
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet.network import S2MNet
from s2mnet_lab.peers import PEERS
from s2mnet_lab.study.reported import DICE
from s2mnet_lab.study.study import OWN_COMMANDS, Study

STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.yaml"))
SPEC = Path(__file__).parents[4] / "shared" / "SPEC.md"


def load(name: str) -> Study:
    return Study.load(next(file for file in STUDIES if file.stem == name))


def test_the_studies_of_the_issue_are_there() -> None:
    sizes = {"small": 75 + 30, "main": 17 * 5 * (5 + 3), "ablation": 23 * 5 * 5, "cross": 4 * 3 * 5}
    assert {name: len(list(load(name).cells())) for name in sizes} == sizes
    assert {file.stem for file in STUDIES} >= {*sizes, "ours", "spectral"}


def test_every_variant_has_a_network_and_a_loss() -> None:
    """With the names, options and sizes that the files say; on the meta device, so nothing is computed."""
    for study in map(Study.load, STUDIES):
        for variant in study.variants.values():
            if variant.architecture == OURS:
                with torch.device("meta"):
                    network = S2MNet(3, 2, **variant.network)
                assert sum(p.numel() for p in network.parameters()) > 5e5
            else:
                assert variant.architecture in {*PEERS, *OWN_COMMANDS} and not variant.network
            kind = MASL if variant.loss == "masl" else DiceCrossEntropy
            kind(2, **variant.loss_options)


def test_cells_finish_one_seed_before_the_next() -> None:
    seeds = [cell.seed for cell in load("small").cells()]
    assert seeds == sorted(seeds) and len(set(map(str, load("small").cells()))) == 75 + 30


def test_trials_of_a_search_come_first() -> None:
    cells = list(load("main").cells())
    assert [cell.lr is not None for cell in cells] == [True] * 17 * 5 * 3 + [False] * 17 * 5 * 5


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("title: a\ndata: {D: {}}\nvariants: {}", "at least one of variants"),
        ("title: a\ndata: {D: {}}\nvariants: {v: {title: V, lr: 3}}", "variants.v.lr"),
        ("title: a\ndata: {D: {also_test: [E]}}\nvariants: {v: {title: V}}", "also_test"),
        ("title: [", "cannot be read"),
        ("", "Correct"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(S2MNetError, match=word) as error:
        Study.load(file)
    assert "study.yaml" in str(error.value)


@pytest.mark.skipif(not SPEC.is_file(), reason="the SPEC is not beside the checkout")
def test_reported_figures_are_those_of_the_spec() -> None:
    """Read again from the tables there."""
    lines = [line for line in SPEC.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = next(i for i, row in enumerate(cells) if row[:2] == ["data set", "modality"])
    networks = cells[table][2:]
    names = {"ISIC-2018": "ISIC2018", "EndoVis-2017 binary": "EndoVis2017", "EndoVis-2017 parts": "EndoVis2017 parts"}
    for row in cells[table + 2 : table + 17]:
        for network, value in zip(networks, row[2:], strict=True):
            assert DICE[network, names.get(row[0], row[0])] == float(value)
    ablated = {row[0]: row[1:] for row in cells if len(row) == 5}
    ours = {"SSTM": "no SSTM", "BFD": "no BFD", "MRF-SE": "no MRF-SE", "α_i = 1": "no modulation"}
    ours |= {"all three (plain U-Net)": "none of the three", "fixed weights": "fixed weights"}
    ours |= {f"L_{term}": f"no L_{term}" for term in ("core", "bnd", "str", "sca", "tex")}
    for row, name in ours.items():
        assert [DICE[name, dataset] for dataset in ("Kvasir-SEG", "DRIVE", "GlaS", "PH2")] == [
            *map(float, ablated[row])
        ]
    sets = ("Kvasir-SEG", "DRIVE", "GlaS", "PH2")
    many = ablated["K = 16 / 24 / 48 / 64"]
    for place, k in enumerate((16, 24, 48, 64)):
        reported = [float(values.split(" / ")[place]) for values in many]
        assert [DICE[f"K = {k}", dataset] for dataset in sets] == reported


def test_every_data_set_is_one_that_prepare_knows() -> None:
    """By the name of its download's folder, and with a reported row where the paper has the set."""
    for study in map(Study.load, STUDIES):
        for name in (*study.data, *study.others):
            assert named(name).name.replace("-", "") == name.replace("-", "")
    rows = {variant.reported for study in map(Study.load, STUDIES) for variant in study.variants.values()} - {""}
    assert rows <= {row for row, _ in DICE}
