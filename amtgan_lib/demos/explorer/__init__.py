"""Stored scores of a run, explored without a model: any threshold, method and recogniser (notebook demo_results)."""

from amtgan_lib.demos.explorer.panel import STEP, Explorer
from amtgan_lib.demos.explorer.stored import GRID, NoScores, Stored, at_hand, read
