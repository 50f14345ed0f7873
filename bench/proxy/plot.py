"""The picture of a run: `python -m bench.proxy.plot RESULTS.json OUT.png`.

Runs in an environment of its own that has matplotlib and nothing of ours, so it reads the JSON as it is.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_OURS, _OTHERS = "#0b6e4f", "#8a939c"
_PANELS = (
    ("Requests/s, small, 32 connections", "small-json-32", "requests_per_second", 1.0),
    ("Requests/s, 100 KB prompts, 32 connections", "large-json-32", "requests_per_second", 1.0),
    ("Streamed tokens/s, 32 connections", "small-stream-32", "tokens_per_second", 1.0),
    ("p50 with one connection, ms", "small-json-1", "latency_p50", 1e-3),
)


def draw(run: dict[str, Any], out: Path) -> None:
    figure, axes = pyplot.subplots(2, 3, figsize=(13, 6.2), layout="constrained")
    panels = [(title, _medians(run, case, field, scale)) for title, case, field, scale in _PANELS]
    measured = [peer for peer in run["peers"] if peer["rss_bytes"] and peer["ready_seconds"]]
    panels.append(("RSS after the run, MB", {peer["name"]: peer["rss_bytes"] / 1e6 for peer in measured}))
    ready = {peer["name"]: median(peer["ready_seconds"]) for peer in measured}
    panels.append(("Exec to the first right answer, s", ready))
    for axis, (title, values) in zip(axes.flat, panels, strict=True):
        _dots(axis, title, values)
    figure.suptitle(f"One core each, same mock upstream, logarithmic · {run['machine']['processor']}", fontsize=10)
    figure.savefig(out, dpi=110)


def _medians(run: dict[str, Any], case: str, field: str, scale: float) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for each in run["measurements"]:
        if each["case"] == case and each[field] is not None:
            values.setdefault(each["peer"], []).append(each[field] * scale)
    return {name: median(figures) for name, figures in values.items()}


def _dots(axis: Any, title: str, values: dict[str, float]) -> None:
    """Dots rather than bars: a bar's length means nothing on a logarithmic axis."""
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axis.tick_params(which="both", left=False, bottom=False, labelbottom=False, labelsize=9)
    values = {name: value for name, value in values.items() if value > 0}  # a logarithm has no place for nothing
    if not values:
        axis.set_yticks([])
        return
    names = sorted(values, key=lambda name: values[name])
    colours = [_OURS if name == "llmroute" else _OTHERS for name in names]
    figures = [values[name] for name in names]
    axis.set_xscale("log")
    axis.hlines(names, min(figures), figures, color="#e3e6e9", zorder=1)
    axis.scatter(figures, names, color=colours, s=60, zorder=2)
    for name, value in values.items():
        text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        axis.annotate(text, (value, name), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9)
    axis.set_xlim(min(figures) / 1.3, max(figures) * (max(figures) / min(figures)) ** 0.2 * 1.1)
    axis.margins(y=0.15)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
