"""Draw what the dashboard's panels ask Prometheus for: the data, not Grafana."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, List, Tuple

import matplotlib as mpl

from tests.harness import dashboards
from tests.harness.servers.prometheus import Prometheus

mpl.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = 3
STEP_S = 5.0

# The title of a panel, and its lines: label, minutes, values.
Panel = Tuple[str, List[Tuple[str, List[float], List[float]]]]


async def ask(
    prometheus: Prometheus, values: dict[str, str], seconds: float
) -> list[Panel]:
    """Ask for the data of every panel that has a time axis."""
    end = time.time()
    begin, panels = end - seconds, list[Panel]()
    for panel in dashboards.dashboard()["panels"]:
        if panel["type"] != "timeseries":
            continue
        lines = []
        for target in panel["targets"]:
            text = dashboards.fill_in(target["expr"], values)
            for found in await prometheus.query_range(text, begin, end, STEP_S):
                told = [(float(at), float(value)) for at, value in found["values"]]
                # Everything is counted from zero; what never happened has no line.
                if any(value for _, value in told):
                    label = _label(target["legendFormat"], found["metric"])
                    minutes = [(at - begin) / 60 for at, _ in told]
                    lines.append((label, minutes, [value for _, value in told]))
        unit = panel["fieldConfig"]["defaults"]["unit"]
        panels.append((f"{panel['title']} ({unit})", lines))
    return panels


def draw(panels: list[Panel], file: Path) -> None:
    rows = -(-len(panels) // COLUMNS)
    size = (4.6 * COLUMNS, 2.5 * rows)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained")
    for axis, (title, lines) in zip(axes.flat, panels):
        axis.set_title(title, fontsize=10, loc="left")
        for label, minutes, values in lines:
            axis.plot(minutes, values, linewidth=1.2, label=label)
        axis.set_xlabel("minutes", fontsize=8)
        axis.set_ylim(bottom=0)
        axis.grid(visible=True, linewidth=0.4)
        axis.tick_params(labelsize=8)
        if lines:
            axis.legend(fontsize=7, frameon=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.savefig(file, dpi=75)
    plt.close(figure)


def _label(legend: str, metric: dict[str, Any]) -> str:
    # What tells processes apart changes from run to run.
    if "{{instance}}" in legend:
        return str(metric.get("job", ""))
    for name, value in metric.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend
