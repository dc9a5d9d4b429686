"""Every command of `python -m amtgan_lib`; `amtgan_lib.__main__` lists them and calls one."""

import sys
from pathlib import Path

# What was typed to come here: the installed script, or the module.
PROGRAM = "amtgan" if Path(sys.argv[0]).stem == "amtgan" else "python -m amtgan_lib"


def is_ours(error: Exception) -> bool:
    """Whether an error carries a sentence for the user: this package's own and the system's do, any other is a bug."""
    return isinstance(error, OSError) or type(error).__module__.startswith("amtgan_lib.")
