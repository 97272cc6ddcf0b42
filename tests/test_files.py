"""Many files in turn, and pictures in a format that holds them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2mnet.files import LONGEST_JPEG, prefetch, write_picture


@pytest.mark.parametrize("items", [0, 2, 20])
def test_no_more_than_asked_for_is_begun_ahead(items: int) -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def work(item: int) -> int:
        with lock:
            begun.append(item)
        return -item

    with ThreadPoolExecutor(2) as pool:
        taken = []
        for item, result in prefetch(pool, work, range(items), 3):
            taken.append((item, result))
            assert len(begun) <= len(taken) + 3
    assert taken == [(item, -item) for item in range(items)]


def test_what_goes_wrong_is_raised_in_its_turn() -> None:
    taken = []
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        for _, result in prefetch(pool, lambda item: 6 // item, [1, 2, 0, 3], 3):
            taken.append(result)
    assert taken == [6, 3]


def test_a_picture_is_a_jpeg_where_that_can_hold_it(tmp_path: Path) -> None:
    for name, length in (("a.b", LONGEST_JPEG), ("c", LONGEST_JPEG + 1)):
        write_picture(tmp_path / name, np.full((1, length, 3), (200, 40, 90), np.uint8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.jpg", "c.png"]
    for path in tmp_path.iterdir():
        picture = np.asarray(Image.open(path)).astype(int)
        assert np.abs(picture - (200, 40, 90)).max() <= 2
