"""``s2mnet prepare``: an official download becomes a data folder, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from s2mnet.data import Dataset
from s2mnet.data.cases import SPLITS, Split
from s2mnet.data.casetable import UNKNOWN, CaseFacts, write_case_table
from s2mnet.datasets.record import Found, PublicSet, Record
from s2mnet.datasets.sets import named
from s2mnet.datasets.source import open_source
from s2mnet.datasets.writing import write_record
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.files import write_error
from s2mnet.progress import Progress


@dataclass(frozen=True)
class PreparedSummary:
    """What :func:`prepare` wrote.

    Attributes:
        folder: the data folder.
        counts: images per split.
        dataset: its ``dataset.yaml``.
        notes: sentences about what is missing or was left out.
    """

    folder: Path
    counts: dict[Split, int]
    dataset: Dataset
    notes: list[str]


def prepare(
    name: str, source: str | Path, output: str | Path, progress: Progress | None = None, neighbours: int = 0
) -> PreparedSummary:
    """Turn a public data set, as downloaded, into the folder form.

    Writes ``output/{train,val,test}/{images,masks}`` and ``output/dataset.yaml``: images with their original pixels
    (slices of volumes in 8 bits, see :func:`~s2mnet.datasets.volumes.read_slices`), masks as class indices; and
    ``output/cases.csv`` with the patient or sequence, the volume and the spacing of each image where they are known.
    The split is the official one, or the project's where there is none. Archives are unpacked beside the output, up
    to 128 GiB each. Nothing is left behind if it fails.

    Args:
        name: of the data set, see :func:`~s2mnet.datasets.describe_datasets`; case and punctuation do not matter.
        source: the folder of the download, one around it, or an archive (zip, tar, tar.gz, tgz).
        output: a folder that does not exist or is empty.
        progress: called with the images (or volumes) done and their total after each.
        neighbours: slices on either side that become channels of each slice of a volume.

    Raises:
        S2MNetError: no such data set or source, another layout, a file that cannot be read, an image without its
            mask, an output that is not empty or cannot be written; neighbours of images that are no slices.
    """
    public, source, output = named(name), Path(source), Path(output).absolute()
    if neighbours < 0:
        raise S2MNetError("--neighbours", f"{neighbours}", "0 or more", "Give the slices on either side, such as 1.")
    if (output.is_dir() and any(output.iterdir())) or output.is_file():
        raise S2MNetError(output, "that it is there already", "a new or an empty folder", "Name another folder.")
    with _scratch(output) as scratch:
        try:
            found = public.find(open_source(source, public, scratch))
        except OSError as error:
            raise S2MNetError(source, f"{error.strerror or error}", "files you may read", "Check it.") from None
        _check(public, found, source)
        if neighbours and not all(record.volume for record in found.records):
            held = f"{public.name}, which is no set of volumes"
            raise S2MNetError("--neighbours", held, "slices, which have neighbours", "Leave --neighbours out.")
        dataset = public.dataset(found.split, neighbours)
        counts, facts = _write_all(found.records, scratch / "folder", progress, neighbours)
        dataset.save(scratch / "folder")
        if any(known != UNKNOWN for known in facts.values()):
            write_case_table(scratch / "folder", facts)
        try:
            if output.is_dir():
                output.rmdir()  # it is empty; some systems do not replace it
            os.replace(scratch / "folder", output)
        except OSError as error:
            raise write_error(output, error) from None
    return PreparedSummary(output, counts, dataset, _notes(public, found, counts))


@contextlib.contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """A hidden folder beside the output, gone afterwards, with whatever was made for it if the output is not there."""
    made = [folder for folder in output.parents if not folder.exists()]
    scratch = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        try:
            scratch.mkdir(parents=True)
        except OSError as error:
            raise write_error(scratch, error) from None
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: the output is in it
                folder.rmdir()


def _check(public: PublicSet, found: Found, source: Path) -> None:
    count = len(found.records)
    if public.images is not None and count > public.images:
        mend = "Check that it is this data set, and the official download of it."
        raise S2MNetError(source, f"{count} {public.unit}", f"at most {public.images} in {public.name}", mend)
    twice = [name for name, times in Counter(record.name for record in found.records).items() if times > 1]
    if twice:
        raise S2MNetError(source, f"{twice[0]} more than once", "each image once", "Take one of the two away.")
    if not any(record.split == "train" for record in found.records):
        expected = f"training {public.unit} of {public.name}"
        raise S2MNetError(source, f"none among {count} {public.unit}", expected, "Complete the download.")


def _write_all(
    records: list[Record], folder: Path, progress: Progress | None, neighbours: int
) -> tuple[dict[Split, int], dict[str, CaseFacts]]:
    counts: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    facts: dict[str, CaseFacts] = {}
    pool = ThreadPoolExecutor(worker_count())
    try:
        written = pool.map(lambda record: write_record(record, folder / record.split, neighbours), records)
        for done, (record, images) in enumerate(zip(records, written, strict=True), start=1):
            counts[record.split] += len(images)
            facts |= images
            if progress is not None:
                progress(done, len(records))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, what has not begun does not begin
    return counts, facts


def _notes(public: PublicSet, found: Found, counts: dict[Split, int]) -> list[str]:
    notes = list(found.left_out)
    if public.images is not None and len(found.records) < public.images:
        notes.append(f"{len(found.records)} of the {public.images} {public.unit} of {public.name} are here.")
    if not counts["val"]:
        notes.append("There is no validation part: training takes an eighth of the training images instead.")
    if not counts["val"] and len({record.group for record in found.records if record.split == "train"}) == 1:
        notes.append("All training images are of one patient or sequence, and so will the validation images be.")
    return notes
