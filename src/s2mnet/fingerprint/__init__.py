"""A data folder read once: what is in it, what is wrong with it, and all that a plan is decided from."""

from s2mnet.fingerprint.folder import inspect_folder, read_folder
from s2mnet.fingerprint.problem import Problem
from s2mnet.fingerprint.record import Fingerprint

__all__ = ["Fingerprint", "Problem", "inspect_folder", "read_folder"]
