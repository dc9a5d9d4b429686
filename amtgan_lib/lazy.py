"""Large packages that are imported and then not used: loaded at their first use, if there is one.

mediapipe imports pyplot for drawings of its own, and tables belong to evaluation: together a third of the time that
`protect` needs for a photo. (importlib's LazyLoader loads a module when it is imported a second time.)
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __init__(self, name: str):
        super().__init__(name)
        # Whoever asks importlib whether the package is there, as torch does, gets an error for a module without one.
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        # inspect asks every module for its file; that is no use of it. A submodule's import asks for the path.
        if name.startswith("__") and name not in ("__path__", "__version__"):
            raise AttributeError(f"module {self.__name__!r} has not been used so far and has no attribute {name!r}")
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        vars(self).update(vars(importlib.import_module(self.__name__)))
        return vars(self)[name] if name in vars(self) else super().__getattribute__(name)


def later(name: str) -> None:
    """Let whoever imports the module ``name``, or a package that it is in, wait for it only at its first use.

    Nothing happens where it is imported already.
    """
    package, _, own = name.rpartition(".")
    if package:
        later(package)
    if name not in sys.modules:
        sys.modules[name] = _Later(name)
        if package:
            setattr(sys.modules[package], own, sys.modules[name])
