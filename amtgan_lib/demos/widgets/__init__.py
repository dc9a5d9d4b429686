"""Widgets for notebooks: layout and callbacks only; what they show is computed in ``studio``."""

from amtgan_lib.demos.widgets.desk import Begin
from amtgan_lib.demos.widgets.quickstart import Quickstart
from amtgan_lib.demos.widgets.strength import MakeupStrength

__all__ = ["Begin", "MakeupStrength", "Quickstart"]
