"""The style of all figures: size, colours, and PNG bytes that are the same on every machine and day."""

import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS, OTHERS = "#2563eb", "#94a3b8"
LINES = ("#2563eb", "#ea580c", "#16a34a", "#9333ea", "#0891b2", "#be123c", "#65a30d")


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches, and its axes side by side."""
    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    axes_list = list(axes[0])
    for each in axes_list:
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=8)
        each.xaxis.label.set_fontsize(9)
        each.yaxis.label.set_fontsize(9)
    return figure, axes_list


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes; it is closed."""
    stream = io.BytesIO()
    # Software and date would make the bytes differ between machines and days.
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()
