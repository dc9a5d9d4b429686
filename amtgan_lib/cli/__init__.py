"""Every command of `python -m amtgan_lib`; `amtgan_lib.__main__` lists them and calls one."""

import sys
from pathlib import Path

# What was typed to come here: the installed script, or the module.
PROGRAM = "amtgan" if Path(sys.argv[0]).stem == "amtgan" else "python -m amtgan_lib"
