"""Widgets for notebooks: layout and callbacks only; what they show is computed in ``demos.session``."""

from amtgan_lib.demos.widgets.quickstart import Quickstart
from amtgan_lib.demos.widgets.strength import MakeupStrength
from amtgan_lib.demos.widgets.study import WhichIsProtected
from amtgan_lib.demos.widgets.workbench import Begin
