"""Draw what the dashboard's panels ask Prometheus for: the data, not Grafana."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import attrs
import matplotlib as mpl

from tests.harness.metrics import dashboards
from tests.harness.metrics.prometheus import Prometheus

mpl.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = 3
STEP_S = 5.0


@attrs.frozen
class Series:
    """One line of a panel."""

    label: str
    minutes: list[float]
    values: list[float]


@attrs.frozen
class Panel:
    """One panel of the dashboard with its data."""

    title: str
    unit: str
    series: list[Series]


async def ask(
    prometheus: Prometheus, values: dict[str, str], seconds: float
) -> list[Panel]:
    """Ask for the data of every panel that has a time axis."""
    end = time.time()
    panels = []
    for panel in dashboards.dashboard()["panels"]:
        if panel["type"] != "timeseries":
            continue
        series = []
        for target in panel["targets"]:
            text = dashboards.fill_in(target["expr"], values)
            found = await prometheus.query_range(text, end - seconds, end, STEP_S)
            legend = target["legendFormat"]
            told = [_series(legend, end - seconds, each) for each in found]
            # Everything is counted from zero; what never happened has no line.
            series += [each for each in told if any(each.values)]
        unit = panel["fieldConfig"]["defaults"]["unit"]
        panels.append(Panel(panel["title"], unit, series))
    return panels


def draw(panels: list[Panel], file: Path) -> None:
    """Draw the panels as small multiples."""
    rows = -(-len(panels) // COLUMNS)
    size = (4.6 * COLUMNS, 2.5 * rows)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained")
    for axis, panel in zip(axes.flat, panels):
        _draw(axis, panel)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.savefig(file, dpi=75)
    plt.close(figure)


def _draw(axis: Any, panel: Panel) -> None:
    axis.set_title(f"{panel.title} ({panel.unit})", fontsize=10, loc="left")
    for series in panel.series:
        axis.plot(series.minutes, series.values, linewidth=1.2, label=series.label)
    axis.set_xlabel("minutes", fontsize=8)
    axis.set_ylim(bottom=0)
    axis.grid(visible=True, linewidth=0.4)
    axis.tick_params(labelsize=8)
    if panel.series:
        axis.legend(fontsize=7, frameon=False)


def _series(legend: str, start: float, found: dict[str, Any]) -> Series:
    label = legend
    for name, value in found["metric"].items():
        label = label.replace(f"{{{{{name}}}}}", value)
    # What tells processes apart changes from run to run.
    if "{{instance}}" in legend:
        label = found["metric"].get("job", "")
    times, values = zip(*found["values"])
    minutes = [(float(each) - start) / 60 for each in times]
    return Series(label, minutes, [float(each) for each in values])
