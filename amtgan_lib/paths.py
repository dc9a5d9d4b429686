"""Folders of the project, as constants. Nothing is created here: whoever writes makes the folder.

In a checkout everything lies where the README says. Installed from a wheel, the package reads the copies in its folder
`shipped` and writes below a folder of the user's: AMTGAN_HOME, else `amtgan` in the home folder. It is not the current
folder, since a kernel's is that of its notebook, which may lie in site-packages.
"""

import os
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent
_SHIPPED = LIBRARY / "shipped"  # made by setup.py, in wheels only

IN_CHECKOUT = not _SHIPPED.is_dir()
"""False for an installed copy; an editable installation is the checkout."""


def _chosen(variable: str, otherwise: Path) -> Path:
    """The folder that an environment variable names; an empty one counts as unset."""
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser().resolve() if chosen else otherwise


ROOT = LIBRARY.parent if IN_CHECKOUT else _chosen("AMTGAN_HOME", Path.home() / "amtgan")
"""The checkout, else the user's folder: what is written lies below, and relative names of runs are relative to it."""
_READ = ROOT if IN_CHECKOUT else _SHIPPED

WEIGHTS = LIBRARY / "weights"
"""What comes with the package: recognisers, generators, the networks that trainings begin with, the faces of nobody."""

DATA = ROOT / "data"
RAW = DATA / "raw"
"""Photographs as they came; never part of the project's history."""
PREPARED = DATA / "prepared"
"""Crops, landmarks and masks made from RAW."""

RESULTS = ROOT / "results"
RUNS = RESULTS / "runs"
"""Executed notebooks, checkpoints and images of each run; ignored by git."""
FIGURES = RESULTS / "figures"
PUBLISHED = _READ / "results" / "published"
"""Numbers of the literature, each with its source."""
MEASURED = _READ / "results" / "measured"
"""Our own numbers, each with its provenance."""
LEADERBOARD = RESULTS / "leaderboard"
"""Anybody's numbers on a protocol, a file each."""

NOTEBOOKS = _READ / "notebooks"
DOCS = ROOT / "docs"
"""Of a checkout."""
PRESETS = _READ / "presets"
PROTOCOLS = _READ / "data" / "protocols"
"""Who protects and judges what, pinned: ``datasets.protocol``."""

CACHE = _chosen("AMTGAN_CACHE", Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amtgan")
"""Downloads, which outlive a checkout."""
