"""Whole photos and videos: every face changed, everything else left as it was, and nobody passed off unprotected."""

from amtgan_lib.protection.consent import PASSES, Aim, ProtectionError, guide_to
from amtgan_lib.protection.photo import (
    FaceReport,
    Protected,
    ProtectionWarning,
    Protector,
    none_found,
    pasted,
    prepare,
    protect,
)

__all__ = [
    "PASSES",
    "Aim",
    "FaceReport",
    "Protected",
    "ProtectionError",
    "ProtectionWarning",
    "Protector",
    "guide_to",
    "none_found",
    "pasted",
    "prepare",
    "protect",
]
