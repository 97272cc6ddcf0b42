"""The image files that annotations name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from s2mnet.data.images import is_image_file
from s2mnet.errors import S2MNetError
from s2mnet.importing.affixes import role_of_folder
from s2mnet.importing.content import visible
from s2mnet.text import listed


class Images:
    """The image files below a folder, to be found by what annotations call them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = [file for file in visible(root) if is_image_file(file)]
        self._all = set(self.files)
        self._named: dict[str, list[Path]] = {}
        for file in self.files:
            self._named.setdefault(file.name, []).append(file)

    def find(self, name: str, source: Path, folder: str = "") -> Path:
        """The image of a name, with or without a path.

        Args:
            name: in the annotations.
            source: the file that names it; an image beside it comes first, one in a folder of masks last.
            folder: whose images come first otherwise.

        Raises:
            S2MNetError: there is none, or several with the same end of the path.
        """
        parts = PurePosixPath(name.replace("\\", "/")).parts
        beside = Path(os.path.normpath(source.parent.joinpath(*parts)))
        if beside in self._all:
            return beside
        named = self._named.get(parts[-1], []) if parts else []
        for count in range(len(parts), 0, -1):
            held = [file for file in named if file.parts[-count:] == parts[-count:]]
            held = [file for file in held if not self._of_masks(file)] or held
            held = [file for file in held if folder and folder in file.relative_to(self.root).parts] or held
            if len(held) == 1:
                return held[0]
            if held:
                shown = listed([file.relative_to(self.root).as_posix() for file in held], most=3)
                problem = f"names {name}, which may be {shown}"
                raise S2MNetError(source, problem, "Give the images different names, or keep one of them.")
        raise S2MNetError(source, f"names {name}, which is not below {self.root}", "Add the image.")

    def _of_masks(self, file: Path) -> bool:
        return role_of_folder(file.relative_to(self.root).parent) == "mask"

    def rest(self, used: Iterable[Path]) -> list[str]:
        """The images that are not among these, nor in a folder of masks, relative to the folder."""
        known = set(used)
        others = (file for file in self.files if file not in known and not self._of_masks(file))
        return [file.relative_to(self.root).as_posix() for file in others]
