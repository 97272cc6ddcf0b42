"""``s2mnet import``: turn the layout of another tool into a data folder, completely or not at all."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from s2mnet.data import Dataset, find_cases
from s2mnet.data.casetable import UNKNOWN, CaseFacts, write_case_table
from s2mnet.data.pairs import labels_of
from s2mnet.data.splits import SPLITS
from s2mnet.datasets.record import Record
from s2mnet.datasets.writing import write_record
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.files import partial_folder, prefetch, replace_folder
from s2mnet.importing.content import Content, Layout, without_note
from s2mnet.importing.layouts import find_layout, inner_folder
from s2mnet.importing.table import of_table
from s2mnet.progress import Progress
from s2mnet.text import counted


@dataclass(frozen=True)
class Imported:
    """What :func:`import_data` wrote.

    Attributes:
        folder: the data folder.
        layout: what the source was taken for.
        counts: images of each split; of "all" where the source has no split.
        labels: one sentence on the classes.
        dataset: its ``dataset.yaml``.
        notes: sentences on what is left out or was decided.
    """

    folder: Path
    layout: Layout
    counts: dict[str, int]
    labels: str
    dataset: Dataset
    notes: list[str]

    @property
    def summary(self) -> str:
        """How many images there are, in which splits."""
        if "all" in self.counts:
            return f"{counted(self.counts['all'], 'image')}, without a split"
        return ", ".join(f"{count} {split}" for split, count in self.counts.items())


def import_data(
    source: str | Path,
    output: str | Path,
    name: str = "",
    pairs: str | Path | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Turn a folder in the layout of another tool into a data folder.

    Images keep their pixels (slices of volumes in 8 bits, as in prediction), masks their label values where the source
    has them. Splits of the source are kept; without one, ``output/{images,masks}`` are written. A failure leaves
    nothing behind.

    Args:
        source: a folder.
        output: a folder that is empty or does not exist.
        name: of the layout, see :data:`~s2mnet.importing.LAYOUTS`. Default: found out.
        pairs: a table of images and masks, see :mod:`s2mnet.importing.table`; then the layout does not matter.
        progress: called with the images (or volumes) done and their total after each.

    Raises:
        S2MNetError: the layout is unknown or ambiguous, a file cannot be read, no image has a mask, or the output is
            not empty or cannot be written.
    """
    output = Path(output).absolute()
    if (output.is_dir() and any(output.iterdir())) or output.is_file():
        raise S2MNetError(output, "already exists", "Choose a new or an empty folder.")
    try:
        root = inner_folder(Path(source).absolute())
        layout = of_table(Path(pairs)) if pairs else find_layout(root, name)
        content = layout.read(root)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise S2MNetError(error.filename or source, problem, "Check the files and their permissions.") from None
    _check_names(root, content.records)
    splits = {record.split for record in content.records}
    with partial_folder(output) as scratch:
        folder = scratch / "folder"
        flat = splits == {"train"}
        counts, facts = _write_all(content, folder, flat, progress)
        if content.dataset != Dataset():
            content.dataset.save(folder)
        if any(known != UNKNOWN for known in facts.values()):
            write_case_table(folder, facts)
        replace_folder(folder, output)
    labels, problems = _labels(output, content.dataset)
    notes = [*without_note(content.without), *content.notes, *problems]
    return Imported(output, layout, counts, labels, content.dataset, notes)


def _check_names(root: Path, records: list[Record]) -> None:
    twice = [name for name, times in Counter(record.name.casefold() for record in records).items() if times > 1]
    if twice:
        raise S2MNetError(root, f"has {twice[0]} more than once", "Give each image a name of its own.")


def _write_all(
    content: Content, folder: Path, flat: bool, progress: Progress | None
) -> tuple[dict[str, int], dict[str, CaseFacts]]:
    records = content.records
    facts: dict[str, CaseFacts] = {}
    held = {record.split for record in records}
    counts: dict[str, int] = {"all": 0} if flat else {split: 0 for split in SPLITS if split in held}
    workers = worker_count()
    pool = ThreadPoolExecutor(workers)
    try:

        def write(record: Record) -> dict[str, CaseFacts]:
            return write_record(record, folder if flat else folder / record.split, content.dataset.neighbours)[0]

        for done, (record, known) in enumerate(prefetch(pool, write, records, workers), start=1):
            counts["all" if flat else record.split] += len(known)
            facts |= known
            if progress is not None:
                progress(done, len(records))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, start nothing more
    return counts, facts


def _labels(folder: Path, dataset: Dataset) -> tuple[str, list[str]]:
    """One sentence on the classes, and what training would refuse."""
    try:
        return labels_of(find_cases(folder)).describe(), []
    except S2MNetError as error:
        known = dataset.label_map()
        described = known.describe() if known else "labels of unknown meaning"
        return described, [f"Training would refuse this folder: {error}"]
