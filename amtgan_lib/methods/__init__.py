"""Everything that changes a face crop is a Method: generators, gradient attacks, controls; and whom they aim at."""

from amtgan_lib.methods.catalogue import (
    GRADIENT,
    NAMES,
    VISIBILITY,
    bare,
    build,
    by_region,
    check,
    gradient_attack,
    in_makeup_of,
    remembered,
    seconds_a_face,
    visibility,
    weakened,
)
from amtgan_lib.methods.generator import Guide, load, of_generator
from amtgan_lib.methods.method import Method, MethodError
