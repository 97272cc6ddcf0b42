"""``s2mnet prepare``: turn an official download into a data folder, completely or not at all."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from s2mnet.data import Dataset
from s2mnet.data.casetable import UNKNOWN, CaseFacts, write_case_table
from s2mnet.data.splits import SPLITS, Split
from s2mnet.datasets.catalogue import named
from s2mnet.datasets.record import Download, PublicSet, Record
from s2mnet.datasets.source import open_source
from s2mnet.datasets.writing import write_record
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.files import partial_folder, replace_folder
from s2mnet.progress import Progress


@dataclass(frozen=True)
class PreparedSummary:
    """What :func:`prepare` wrote.

    Attributes:
        folder: the data folder.
        counts: images per split.
        dataset: its ``dataset.yaml``.
        notes: sentences on what is missing or left out.
    """

    folder: Path
    counts: dict[Split, int]
    dataset: Dataset
    notes: list[str]


def prepare(
    name: str, source: str | Path, output: str | Path, progress: Progress | None = None, neighbours: int = 0
) -> PreparedSummary:
    """Turn a public data set, as downloaded, into a data folder.

    Writes ``output/{train,val,test}/{images,masks}`` and ``output/dataset.yaml``: images with their original pixels
    (slices of volumes in 8 bits, see :func:`~s2mnet.datasets.volumes.read_slices`), masks as class indices; and
    ``output/cases.csv`` with the patient or sequence, the volume and the spacing of each image where they are known.
    The split is the official one, or the project's where there is none. Archives are unpacked beside the output, up
    to 128 GiB each. A failure leaves nothing behind.

    Args:
        name: of the data set, see :func:`~s2mnet.datasets.describe_datasets`. Case and punctuation do not matter.
        source: the folder of the download, a folder that contains it, or an archive (zip, tar, tar.gz, tgz).
        output: a folder that is empty or does not exist.
        progress: called with the images (or volumes) done and their total after each.
        neighbours: slices on either side that become channels of each slice of a volume.

    Raises:
        S2MNetError: the data set or source does not exist, its layout differs, a file cannot be read, an image has no
            mask, the output is not empty or cannot be written, or neighbours are asked of images that are no slices.
    """
    public, source, output = named(name), Path(source), Path(output).absolute()
    if neighbours < 0:
        raise S2MNetError("--neighbours", f"is {neighbours}", "Give the slices on either side, such as 1.")
    with partial_folder(output) as scratch:
        # Inside, so that a refusal too deletes what a killed call left beside its finished output.
        if (output.is_dir() and any(output.iterdir())) or output.is_file():
            raise S2MNetError(output, "already exists", "Choose a new or an empty folder.")
        try:
            download = public.reader(public, open_source(source, public, scratch))
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error})"
            raise S2MNetError(source, problem, "Check the files and their permissions.") from None
        _check(public, download, source)
        if neighbours and public.unit != "volumes":
            problem = f"does not apply to {public.name}, which is no set of volumes: only slices have neighbours"
            raise S2MNetError("--neighbours", problem, "Leave --neighbours out.")
        counts, facts, orientations = _write_all(download.records, scratch / "folder", progress, neighbours)
        orientation = orientations.pop() if len(orientations) == 1 else ""
        dataset = public.dataset(download.split, neighbours, orientation)
        dataset.save(scratch / "folder")
        if any(known != UNKNOWN for known in facts.values()):
            write_case_table(scratch / "folder", facts)
        replace_folder(scratch / "folder", output)
    notes = _notes(public, download, counts)
    if public.unit == "volumes" and not orientation:
        notes.append("The orientation of the slices is not recorded: the volumes differ in it, or do not state it.")
    return PreparedSummary(output, counts, dataset, notes)


def _check(public: PublicSet, download: Download, source: Path) -> None:
    count = len(download.records)
    if public.images is not None and count > public.images:
        fix = "Check that it is this data set, and its official download."
        raise S2MNetError(source, f"has {count} {public.unit}; {public.name} has at most {public.images}", fix)
    twice = [name for name, times in Counter(record.name for record in download.records).items() if times > 1]
    if twice:
        raise S2MNetError(source, f"has {twice[0]} more than once", "Remove one of the two.")
    if not any(record.split == "train" for record in download.records):
        problem = f"has {count} {public.unit}, none of them training {public.unit} of {public.name}"
        raise S2MNetError(source, problem, "Complete the download.")


def _write_all(
    records: list[Record], folder: Path, progress: Progress | None, neighbours: int
) -> tuple[dict[Split, int], dict[str, CaseFacts], set[str]]:
    counts: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    facts: dict[str, CaseFacts] = {}
    orientations: set[str] = set()
    pool = ThreadPoolExecutor(worker_count())
    try:
        written = pool.map(lambda record: write_record(record, folder / record.split, neighbours), records)
        for done, (record, (known, orientation)) in enumerate(zip(records, written, strict=True), start=1):
            counts[record.split] += len(known)
            facts |= known
            orientations.add(orientation)
            if progress is not None:
                progress(done, len(records))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, start nothing more
    return counts, facts, orientations


def _notes(public: PublicSet, download: Download, counts: dict[Split, int]) -> list[str]:
    notes = list(download.left_out)
    if public.images is not None and len(download.records) < public.images:
        notes.append(f"{len(download.records)} of the {public.images} {public.unit} of {public.name} are here.")
    if not counts["val"]:
        notes.append("There is no validation part: training uses an eighth of the training images instead.")
    if not counts["val"] and len({record.group for record in download.records if record.split == "train"}) == 1:
        notes.append("All training images are of one patient or sequence, and so are the validation images.")
    return notes
