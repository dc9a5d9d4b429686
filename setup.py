"""Let wheels carry what the library reads outside its own folder, as amtgan_lib/shipped (amtgan_lib/paths.py finds it).

Everything else that the build needs stands in pyproject.toml.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "notebooks/*.ipynb",
    "presets/*.yaml",
    "data/protocols/*.json",
    "results/measured/*.csv",
    "results/published/*.csv",
)


def shipped() -> list[Path]:
    """The files to carry, relative to the checkout."""
    return sorted(path for pattern in SHIPPED for path in Path().glob(pattern))


class BuildWithShipped(build_py):
    """The usual build, and the shipped files; an editable installation reads those of the checkout."""

    def run(self) -> None:
        """Copy into the build folder."""
        super().run()
        if self.editable_mode:
            return
        for path in shipped():
            copy = Path(self.build_lib, "amtgan_lib", "shipped", path)
            self.mkpath(str(copy.parent))
            self.copy_file(str(path), str(copy))

    def get_source_files(self) -> list[str]:
        """What a source distribution holds, so that a wheel can be built from one."""
        return [*super().get_source_files(), *map(str, shipped())]


setup(cmdclass={"build_py": BuildWithShipped})
