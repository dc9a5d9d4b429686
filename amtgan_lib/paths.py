"""Folders of the project, as constants. Nothing is created here: whoever writes makes the folder."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Weights that come with the package: the drawn recognisers and the generator of the quickstart."""

DATA = ROOT / "data"
RAW = DATA / "raw"
"""Photographs as they came; never part of the project's history."""
PREPARED = DATA / "prepared"
"""Crops, landmarks and masks made from RAW."""
MANIFESTS = DATA / "manifests"

RESULTS = ROOT / "results"
RUNS = RESULTS / "runs"
"""Executed notebooks, checkpoints and images of each run; ignored by git."""
FIGURES = RESULTS / "figures"
PUBLISHED = RESULTS / "published"
"""Numbers of the literature, each with its source."""
MEASURED = RESULTS / "measured"
"""Our own numbers, each with its provenance."""

NOTEBOOKS = ROOT / "notebooks"
PRESETS = ROOT / "presets"


def _user_cache() -> Path:
    """Return AMTGAN_CACHE, else amtgan in the user's cache folder; an empty variable counts as unset."""
    chosen = os.environ.get("AMTGAN_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "amtgan"


CACHE = _user_cache()
"""Downloads, which outlive a checkout."""
