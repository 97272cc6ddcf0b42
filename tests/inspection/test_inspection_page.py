"""The inspection page: well formed, self-contained, and harmless whatever the names hold."""

from __future__ import annotations

from pathlib import Path

from htmlpage import Page
from planted import blob, cases, put, texture

from s2mnet.data import Dataset
from s2mnet.fingerprint import Fingerprint, inspect_folder
from s2mnet.inspection import write_page


def test_names_with_markup_stay_text(tmp_path: Path) -> None:
    bad = "<b onload='x'>&{{ 7 * 7 }}"
    data = tmp_path / bad
    for seed, name in cases():
        put(data, name, texture(seed), blob(seed) // 255)
    for kind in ("images", "masks"):
        (data / "train" / kind / "train0.png").rename(data / "train" / kind / f"{bad}.png")
    put(data, "val1", texture(2))  # looks like train2
    put(data, "val0", mask=blob(5)[:50] // 255)  # a problem
    Dataset(name=bad, classes={0: "background", 1: bad}).save(data)
    page = Page(write_page(inspect_folder(data), data, tmp_path / "page.html").read_text("utf-8"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not page.all("script") and not page.all("link") and not page.all("b")[4:]
    assert all(image["alt"] and (image["src"] or "").startswith("data:") for image in page.all("img"))
    assert page.text.count(bad) >= 5
    for word in ("val/masks/val0.png", "1 error", "identical"):
        assert word in page.text


def test_an_empty_fingerprint_makes_a_page(tmp_path: Path) -> None:
    page = Page(write_page(Fingerprint(name="polyps"), tmp_path, tmp_path / "page.html").read_text("utf-8"))
    assert "polyps: what is in the folder" in page.text and "No problems were found" in page.text
    assert not page.all("img")
