"""AMT-GAN (CVPR 2022): protect face photographs by adversarial makeup transfer, measured honestly.

The shortest use is ``from amtgan_lib import protect``. Importing the package itself is cheap: nothing heavy is loaded
before the first name that needs it.
"""

from typing import TYPE_CHECKING, Any

from amtgan_lib import compute

if TYPE_CHECKING:
    from amtgan_lib.protection import protect

__version__ = "0.1.0"
__all__ = ["__version__", "protect"]

compute.settle_threads()


def __dir__() -> list[str]:
    """With `protect`, although it is loaded on first use only."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Load `protect` on first use (PEP 562): it brings torch along, which the command line's help does not need."""
    if name == "protect":
        from amtgan_lib.protection import protect

        return protect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
