"""``--to hub``: a folder for the Hugging Face Hub, and its upload."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, get_token

from s2mnet.data import ImageFolder
from s2mnet.data.dataset import Dataset
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.examples import predict_examples
from s2mnet.exporting.card import Facts, model_card
from s2mnet.exporting.tested import Tested, tested
from s2mnet.files import write_atomically, write_picture
from s2mnet.modelfolder import CONFIG, WEIGHTS
from s2mnet.overlay import overlay
from s2mnet.plan import Plan
from s2mnet.prediction import Predictor
from s2mnet.text import shown

CARD, PICTURES, PLAN = "README.md", "pictures", "plan.yaml"


def write_hub(run: Path, folder: Path, pictures: bool) -> list[str]:
    """Write weights, configuration, model card and, if asked for, pictures into a folder.

    Args:
        run: folder of a model.
        folder: where to write.
        pictures: whether to show the best, the median and the worst test image.

    Returns:
        Lines for the screen.

    Raises:
        S2MNetError: the run folder holds no model, or is damaged.
    """
    predictor = Predictor(run, "cpu", "torch")
    test = tested(run)
    data = test.folder() if test else None
    drawn = _draw(predictor, test, data, folder / PICTURES) if pictures and test and data else []
    facts = Facts(
        config=predictor.config,
        title=data.name if data else run.resolve().name,
        dataset=data.dataset if data else Dataset(),
        counts={split: len(cases) for split, cases in data.splits.items() if cases} if data else {},
        evaluation=test.evaluation if test else None,
        split=test.split if test else "",
        plan=Plan.load(run / PLAN) if (run / PLAN).is_file() else None,
        pictures=drawn,
    )
    for name in (CONFIG, WEIGHTS):
        write_atomically(folder / name, (run / name).read_bytes())
    write_atomically(folder / CARD, model_card(facts).encode())
    lines = ["Read README.md before you publish it: it says what the run folder says, and no more."]
    if drawn:
        lines.append(f"{PICTURES}/ shows {len(drawn)} test images; use --no-pictures unless you may publish them.")
    return lines


def check_token(repository: str) -> None:
    """Refuse an upload that cannot work.

    Raises:
        S2MNetError: there is no token for the Hub.
    """
    if not get_token():
        raise S2MNetError(
            f"--push {repository}",
            "needs a token of the Hugging Face Hub",
            "Log in with `hf auth login`, set HF_TOKEN, or omit --push and upload the folder later.",
        )


def push(folder: Path, repository: str) -> str:
    """Upload a folder that :func:`write_hub` filled; a repository that it creates is private.

    Returns:
        The address of the commit.

    Raises:
        S2MNetError: the Hub refuses it or cannot be reached. The folder stays.
    """
    api = HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Model of s2mnet"))
    except Exception as error:  # those of the HTTP library, which differs between versions, too
        reason = shown(f"{type(error).__name__} {error}")[:200]
        fix = f"Check its name and your rights; {folder} is complete: hf upload {repository} {folder}"
        raise S2MNetError(repository, f"cannot be uploaded ({reason})", fix) from None


def _draw(predictor: Predictor, test: Tested, data: ImageFolder, folder: Path) -> list[tuple[str, str]]:
    """Pictures by role; their names do not name a case, which may be a patient."""
    names = {case.name for case in test.evaluation.cases}
    cases = [case for case in data.cases_of(test.split) if case.name in names]
    if not names or len(cases) < len(names):
        return []
    drawn = []
    for example in predict_examples(predictor, cases, test.evaluation):
        write_picture(folder / example.role, overlay(example.image, example.prediction, example.truth))
        file = next(folder.glob(f"{example.role}.*")).name
        drawn.append((file, f"{example.role}, Dice {example.dice:.3f}"))
    return drawn
