"""An installation of nnU-Net in a Python environment of its own, and the call of its commands."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically

TRAINER = "MinutesTrainer"
"""The class in trainer.py."""


@dataclass(frozen=True)
class Installation:
    """A Python environment with nnU-Net.

    Attributes:
        python: its interpreter, whose folder holds nnU-Net's commands.
    """

    python: Path

    def install_trainer(self) -> None:
        """Copy our trainer into nnU-Net, as its documentation says.

        With ``nnUNet_extTrainer`` nnU-Net would import all of its own trainers first. One of them needs torchvision,
        which cannot be imported beside every build of torch.

        Raises:
            S2MNetError: nnU-Net is not installed there.
        """
        code = "import nnunetv2; print(nnunetv2.__path__[0])"
        try:
            found = subprocess.run(
                [self.python, "-c", code], env=_outside(), capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            problem = "is no Python interpreter that can import nnunetv2"
            fix = (
                "Make a virtual environment, run `pip install nnunetv2` in it, and name its interpreter with --python."
            )
            raise S2MNetError(self.python, problem, fix) from None
        trainers = Path(found.stdout.strip()) / "training" / "nnUNetTrainer"
        write_atomically(trainers / f"{TRAINER}.py", Path(__file__).with_name("trainer.py").read_bytes())

    def call(self, command: str, *arguments: object, log: Path, **variables: object) -> None:
        """Run a command of nnU-Net.

        Args:
            command: its name, such as ``nnUNetv2_train``.
            *arguments: of the command.
            log: the file that its output is appended to.
            **variables: of its environment.

        Raises:
            S2MNetError: it failed.
        """
        with log.open("ab") as output:
            done = subprocess.run(
                [self.python.parent / command, *map(str, arguments)],
                env=_outside() | {name: str(value) for name, value in variables.items()},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if done.returncode:
            last = log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise S2MNetError(command, f"failed with exit status {done.returncode}: {last}", f"Read {log}.")


def _outside() -> dict[str, str]:
    """The variables of this process without those that lead Python to its packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
