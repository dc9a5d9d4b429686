"""What a drawn portrait is made of: who it is, which makeup it wears, and the moment it was taken.

Each of the three is a table of numbers in [0, 1], one row a portrait, whose columns have names and ranges here. A row
depends on the seed and its own number alone, so person 17 of seed 0 is the same in every batch and on every day.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Range = tuple[float, float]
# Lengths are in face units: half a face is about 1 wide, y points down, the eyes lie near y = 0.
IDENTITY: Mapping[str, Range] = {
    "masculine": (0, 1),  # sets the chances of beards, heavy brows, short hair; nothing else reads it
    "skull": (1.32, 1.50),
    "face_width": (0.87, 1.02),
    "jaw": (0.0, 1.0),
    "chin": (1.24, 1.45),
    "chin_width": (0.0, 1.0),
    "cheekbones": (0.0, 1.0),
    "eye_distance": (0.385, 0.465),
    "eye_width": (0.165, 0.215),
    "eye_open": (0.42, 0.68),
    "eye_slant": (-0.12, 0.24),
    "eye_hood": (0.0, 1.0),
    "eye_depth": (0.0, 1.0),
    "iris": (0.0, 1.0),
    "brow_height": (0.20, 0.31),
    "brow_thickness": (0.028, 0.062),
    "brow_arch": (0.0, 0.075),
    "brow_slant": (-0.05, 0.06),
    "brow_length": (0.24, 0.32),
    "nose_length": (0.43, 0.60),
    "nose_width": (0.125, 0.215),
    "nose_bridge": (0.075, 0.125),
    "nose_projection": (0.22, 0.36),
    "nose_bump": (-0.03, 0.04),
    "mouth_place": (0.36, 0.47),  # between the nose's base and the chin
    "mouth_width": (0.27, 0.385),
    "upper_lip": (0.045, 0.105),
    "lower_lip": (0.065, 0.130),
    "cupid": (0.15, 0.9),
    "mouth_line": (-0.025, 0.03),
    "lip_tone": (0.0, 1.0),
    "ear_size": (0.22, 0.31),
    "ear_out": (0.02, 0.11),
    "skin": (0.0, 1.0),
    "warmth": (-1.0, 1.0),
    "freckles": (0.0, 1.0),
    "age": (0.0, 1.0),
    "mole_x": (-0.6, 0.6),
    "mole_y": (0.2, 0.95),
    "hair_style": (0.0, 1.0),
    "hair_colour": (0.0, 1.0),
    "hair_grey": (0.0, 1.0),
    "hairline": (0.72, 0.98),
    "hair_volume": (0.0, 1.0),
    "hair_part": (-1.0, 1.0),
    "beard": (0.0, 1.0),
    "beard_length": (0.0, 1.0),
    "glasses": (0.0, 1.0),
    "glasses_colour": (0.0, 1.0),
}
MAKEUP: Mapping[str, Range] = {
    "lip_colour": (0.0, 1.0),
    "lip_depth": (0.0, 1.0),
    "lip_opacity": (0.55, 0.95),
    "lip_extent": (0.0, 0.012),
    "lip_gloss": (0.0, 1.0),
    "shadow_colour": (0.0, 1.0),
    "shadow_depth": (0.0, 1.0),
    "shadow_opacity": (0.35, 0.85),
    "shadow_extent": (0.55, 1.0),
    "liner_opacity": (0.3, 1.0),
    "liner_width": (0.010, 0.030),
    "liner_wing": (0.0, 0.35),
    "blush_colour": (0.0, 1.0),
    "blush_opacity": (0.08, 0.38),
    "blush_extent": (0.22, 0.36),
    "foundation_opacity": (0.0, 0.7),
    "foundation_tone": (-0.06, 0.06),
}
SCENE: Mapping[str, Range] = {
    "yaw": (-22, 22),
    "pitch": (-12, 12),
    "roll": (-12, 12),
    "zoom": (0.92, 1.08),
    "shift_x": (-0.10, 0.10),
    "shift_y": (-0.08, 0.08),
    "smile": (-0.25, 1.0),
    "mouth_open": (-1.2, 1.0),  # below 0 is closed
    "brow_raise": (-0.6, 1.0),
    "squint": (-0.4, 0.8),
    "gaze_x": (-0.5, 0.5),
    "gaze_y": (-0.25, 0.25),
    "light_x": (-0.9, 0.9),
    "light_y": (-0.75, 0.1),
    "ambient": (0.42, 0.68),
    "light_warmth": (-1.0, 1.0),
    "shine": (0.2, 1.0),
    "exposure": (0.80, 1.12),
    "contrast": (0.90, 1.10),
    "blur": (0.0, 1.0),
    "noise": (0.0, 1.0),
    "backdrop_hue": (0.0, 1.0),
    "backdrop_light": (0.15, 0.92),
    "backdrop_kind": (0.0, 1.0),
    "cloth_hue": (0.0, 1.0),
    "cloth_light": (0.1, 0.9),
    "wears_glasses": (0.0, 1.0),
}
OPACITIES = ("lip_opacity", "shadow_opacity", "liner_opacity", "blush_opacity", "foundation_opacity")
_KINDS = {id(table): number for number, table in enumerate((IDENTITY, MAKEUP, SCENE))}


@dataclass(frozen=True, eq=False)
class Traits:
    """N rows of one of the tables above: ``values`` (N, K) in [0, 1]; an attribute gives a column in its own units.

    ``traits.jaw`` is (N, 1, 1), ready to meet (N, H, W) pixels. ``noise_seed`` are the seeds of each row's textures.
    """

    table: Mapping[str, Range]
    values: Tensor
    noise_seed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.values)

    @functools.cached_property
    def columns(self) -> dict[str, Tensor]:
        """Every trait (N, 1, 1) in its own units."""
        low, high = torch.tensor(list(self.table.values())).T
        scaled = (low + (high - low) * self.values)[:, :, None, None]
        return dict(zip(self.table, scaled.unbind(1)))

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__") or name not in object.__getattribute__(self, "table"):
            raise AttributeError(f"no trait {name!r}")
        return self.columns[name]

    def raw(self, name: str) -> Tensor:
        """A column (N,) as it is, in [0, 1]."""
        return self.values[:, list(self.table).index(name)]

    def __getitem__(self, index) -> Traits:
        chosen = np.arange(len(self))[index].tolist()
        return Traits(self.table, self.values[chosen], tuple(self.noise_seed[i] for i in chosen))

    def changed(self, **columns: float | Tensor) -> Traits:
        """The same rows with some columns set, in their own units (``makeup.changed(lip_opacity=0)``)."""
        values = self.values.clone()
        for name, value in columns.items():
            if name not in self.table:
                raise ValueError(f"no trait {name!r}; there are {', '.join(self.table)}")
            low, high = self.table[name]
            values[:, list(self.table).index(name)] = (torch.as_tensor(value, dtype=torch.float32).squeeze() - low) / (
                high - low
            )
        return Traits(self.table, values, self.noise_seed)


def _draws(table: Mapping[str, Range], numbers: Iterable[int], seed: int) -> tuple[np.ndarray, tuple[int, ...]]:
    kind, rows, seeds = _KINDS[id(table)], [], []
    for number in numbers:
        draw = np.random.default_rng([seed, kind, int(number)])
        rows.append(draw.random(len(table), dtype=np.float32))
        seeds.append(int(draw.integers(2**31)))
    return np.stack(rows), tuple(seeds)


def people(numbers: Iterable[int], seed: int = 0) -> Traits:
    """The drawn people with these numbers. Different seeds are different worlds, without common people."""
    values, seeds = _draws(IDENTITY, numbers, seed)
    column = {name: position for position, name in enumerate(IDENTITY)}
    masculine = values[:, column["masculine"]]
    # Shifts of the mean, not rules: every combination occurs.
    for name, shift in (("jaw", 0.25), ("brow_thickness", 0.35), ("brow_height", -0.2), ("upper_lip", -0.2)):
        moved = values[:, column[name]] + shift * (masculine - 0.5)
        values[:, column[name]] = np.clip(moved, 0, 1)
    return Traits(IDENTITY, torch.from_numpy(values), seeds)


def makeups(numbers: Iterable[int], seed: int = 0) -> Traits:
    """Drawn makeup styles: lipstick, eye shadow, liner, blush and foundation, all of them worn."""
    values, seeds = _draws(MAKEUP, numbers, seed)
    return Traits(MAKEUP, torch.from_numpy(values), seeds)


def no_makeup(count: int) -> Traits:
    """Bare faces."""
    bare = Traits(MAKEUP, torch.zeros(count, len(MAKEUP)), (0,) * count)
    return bare.changed(**dict.fromkeys(OPACITIES, 0.0))


def taken_off(makeup: Traits, bare: Tensor) -> Traits:
    """The same rows, without makeup where ``bare`` (N,) is true."""
    return makeup.changed(**{name: torch.where(bare, 0.0, makeup.columns[name].flatten()) for name in OPACITIES})


def scenes(numbers: Iterable[int], seed: int = 0, variety: float = 1.0) -> Traits:
    """Moments: pose, expression, light, camera, backdrop. ``variety`` 0 is a passport photo, 1 the whole range."""
    values, seeds = _draws(SCENE, numbers, seed)
    calm = np.full(len(SCENE), 0.5, np.float32)
    column = {name: position for position, name in enumerate(SCENE)}
    calm[[column[name] for name in ("smile", "mouth_open", "brow_raise", "squint")]] = (0.25, 0.3, 0.4, 0.35)
    calm[[column["blur"], column["noise"], column["light_y"], column["wears_glasses"]]] = (0.1, 0.1, 0.45, 0.5)
    return Traits(SCENE, torch.from_numpy(calm + variety * (values - calm)), seeds)
