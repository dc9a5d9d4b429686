"""Everything that changes a face crop is a Method: generators, gradient attacks, controls; and whom they aim at."""

from amtgan_lib.methods.catalogue import (
    BARE,
    GRADIENT,
    GUIDED,
    NAMES,
    SINGLE,
    TOWARDS_NOBODY,
    TRANSFER,
    VISIBILITY,
    bare,
    build,
    check,
    gradient_attack,
    nobody_but,
    remembered,
    seconds_a_face,
    visibility,
    weakened,
)
from amtgan_lib.methods.generator import Guide, load, of_generator, of_guided
from amtgan_lib.methods.method import Method, MethodError

__all__ = [
    "BARE",
    "GRADIENT",
    "GUIDED",
    "NAMES",
    "SINGLE",
    "TOWARDS_NOBODY",
    "TRANSFER",
    "VISIBILITY",
    "Guide",
    "Method",
    "MethodError",
    "bare",
    "build",
    "check",
    "gradient_attack",
    "load",
    "nobody_but",
    "of_generator",
    "of_guided",
    "remembered",
    "seconds_a_face",
    "visibility",
    "weakened",
]
