"""What each threshold would do, as curves under a black line that moves without drawing the rest again."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from amtgan_lib.images import encoded
from amtgan_lib.reporting.figures import COLOURS, OTHER_COLOUR, in_style
from amtgan_lib.reporting.results import RATES

THRESHOLD = "threshold"  # what the lines are called that can be moved
MARGINS = {"left": 0.05, "right": 0.99, "bottom": 0.28, "top": 0.91, "wspace": 0.2}  # laying out takes most of the time


@in_style
def threshold_curves(
    rates: pd.DataFrame, false_accepts: pd.DataFrame, threshold: float, chosen: str, marks: dict[float, float]
) -> Figure:
    """What each threshold would do, on one recogniser: impersonation and dodging of every method, and false accepts.

    rates: columns method, threshold, impersonation, dodging (shares). false_accepts: columns threshold, far.
    ``threshold`` is drawn black, ``chosen`` is the method drawn boldly; ``marks`` {far: threshold} are dotted.
    """
    figure, axes = plt.subplots(1, 3, figsize=(11, 3), sharex=True, layout="none")
    figure.subplots_adjust(**MARGINS)
    for axis, metric in zip(axes, ("impersonation", "dodging")):
        for method, part in rates.groupby("method", sort=False):
            bold = {"lw": 3, "zorder": 3} if method == chosen else {"lw": 1.2, "alpha": 0.75}
            colour = COLOURS.get(method, OTHER_COLOUR)
            axis.plot(part["threshold"], 100 * part[metric], color=colour, label=method, **bold)
        axis.set(title=RATES[metric], ylim=(-3, 103), ylabel="% of photos")
    axes[2].plot(false_accepts["threshold"], 100 * false_accepts["far"].where(false_accepts["far"] > 0), color="black")
    axes[2].set(title="two different people taken for one", ylabel="% of pairs", yscale="log")
    axes[2].yaxis.set_major_formatter("{x:g}")
    for axis in axes:
        axis.axvline(threshold, color="black", lw=1.5, gid=THRESHOLD)
        axis.set(xlabel="threshold (cosine)", xlim=(rates["threshold"].min(), rates["threshold"].max()))
        dotted = [axis.axvline(place, color=OTHER_COLOUR, lw=0.9, ls=":") for place in marks.values()]
    handles, labels = axes[0].get_legend_handles_labels()
    labels.append(f"FAR {', '.join(f'{100 * far:g}' for far in marks)} %")
    figure.legend([*handles, dotted[0]], labels, loc="lower center", ncol=len(labels))
    return figure


class MovingThreshold:
    """The figure of ``threshold_curves`` as PNG at one threshold after the other: all but its black line stays."""

    def __init__(self, figure: Figure):
        figure.set_dpi(110)
        self._canvas = FigureCanvasAgg(figure)
        self._lines = figure.findobj(lambda artist: artist.get_gid() == THRESHOLD)
        for line in self._lines:
            line.set_animated(True)  # left out of what is painted now
        self._canvas.draw()
        self._rest = self._canvas.copy_from_bbox(figure.bbox)

    def png(self, threshold: float) -> bytes:
        """The picture with the line at a threshold."""
        self._canvas.restore_region(self._rest)
        for line in self._lines:
            line.set_xdata([threshold, threshold])
            line.axes.draw_artist(line)
        picture = Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")
        return encoded(picture, compress_level=3)
