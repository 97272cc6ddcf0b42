"""The examples that need programs other than Python: their syntax, and what they refer to exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PAGE = (EXAMPLES / "browser" / "index.html").read_text("utf-8")
SCRIPT = PAGE.partition("<script>")[2].partition("</script>")[0]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_of_the_page_is_javascript(tmp_path: Path) -> None:
    (tmp_path / "script.js").write_text(SCRIPT)
    done = subprocess.run(["node", "--check", tmp_path / "script.js"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_has_every_element_that_its_script_uses() -> None:
    used = set(re.findall(r'byId\("(\w+)"\)', SCRIPT))
    assert len(used) > 5 and used == set(re.findall(r'id="(\w+)"', PAGE))


def test_the_page_loads_nothing_but_the_runtime() -> None:
    assert re.findall(r"https?://[^/\"]+", PAGE) == ["https://cdn.jsdelivr.net"]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, continued lines joined."""
    text = (EXAMPLES / "Dockerfile").read_text("utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def test_the_dockerfile_is_one() -> None:
    known = {"FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    names = [name for name, _ in instructions()]
    assert set(names) <= known and names[0] == "FROM"
    stages = [rest.partition(" AS ")[2] for name, rest in instructions() if name == "FROM"]
    for name, rest in instructions():
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in json.loads(rest))
        if name == "RUN":
            assert subprocess.run(["sh", "-n", "-c", rest]).returncode == 0
        if name == "COPY" and rest.startswith("--from="):
            assert rest.split()[0].removeprefix("--from=") in stages
        elif name == "COPY":
            *sources, _ = rest.split()
            assert [source for source in sources if not (EXAMPLES.parent / source).exists()] == []


def test_the_container_runs_offline_as_a_user_without_rights() -> None:
    last = max(number for number, (name, _) in enumerate(instructions()) if name == "FROM")
    final = instructions()[last:]
    assert [rest for name, rest in final if name == "USER"] == ["s2mnet"]
    environment = dict(word.split("=", 1) for name, rest in final if name == "ENV" for word in rest.split())
    assert environment["HF_HUB_OFFLINE"] == "1" and environment["S2MNET_CACHE"] == "off"
    assert not any(re.search("pip|curl|wget|apt", rest) for name, rest in final if name == "RUN")


def test_the_extras_of_the_dockerfile_exist() -> None:
    tomllib = pytest.importorskip("tomllib")
    asked = re.search(r"/source\[([\w,-]+)\]", " ".join(rest for _, rest in instructions()))
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert asked and set(asked[1].split(",")) <= set(project["optional-dependencies"])
