"""Which photo plays which part, and the prepared crops that training and evaluation read."""

from amtgan_lib.datasets import drawn, protocol, shown
from amtgan_lib.datasets.drawn import Progress
from amtgan_lib.datasets.face_set import FaceBatch, FaceSet, file_crop, file_of, files, load, parsed_crops, prepare
from amtgan_lib.datasets.manifest import (
    MANIFEST_COLUMNS,
    SETS,
    available_manifest,
    imported_manifest,
    limited,
    open_manifest,
    world,
    world_of,
)
from amtgan_lib.datasets.parts import (
    alike,
    any_target_parts,
    default_target,
    drawn_pair,
    examples,
    found_table,
    target_photo,
    test_pairs,
    training_parts,
    with_files,
)


def manifest_of(world_name: str):
    """The manifest of a world by its name: "drawn", "open" for the photographs that are at hand, or "imported"."""
    manifests = {"drawn": drawn.manifest, "open": available_manifest, "imported": imported_manifest}
    return manifests[world(world_name).name]()
