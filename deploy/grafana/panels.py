"""The building blocks of the dashboards: queries, panels, variables; `dashboards.py` puts them together."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel = Builder[model.Panel]

_WIDTH, _HEIGHT = 12, 8
_STAT_WIDTH, _STAT_HEIGHT = 4, 4


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the name of its series, with labels as `{{stream}}`."""

    expression: str
    legend: str = ""


def graph(
    title: str,
    unit: str,
    *queries: Query,
    description: str,
    axis: str = "",
    least: float | None = 0,
    most: float | None = None,
) -> Panel:
    """Values over time. A share has the unit `percentunit` and `most` 1; what may be negative has no `least`."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(_WIDTH)
        .height(_HEIGHT)
        .axis_label(axis)
        .fill_opacity(8)
        .show_points(shapes.VisibilityMode.NEVER)
        .legend(common.VizLegendOptions().show_legend(True).placement(shapes.LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
        .targets(_targets(queries))
    )
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    return panel


def figure(title: str, unit: str, query: Query, description: str, decimals: int | None = None) -> Panel:
    """One number, as it is now."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(_STAT_WIDTH)
        .height(_STAT_HEIGHT)
        .color_mode(shapes.BigValueColorMode.NONE)
        .graph_mode(shapes.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets(_targets([query]))
    )
    return panel if decimals is None else panel.decimals(decimals)


def distribution(title: str, metric: str, unit: str, selector: str, description: str) -> Panel:
    """A histogram's buckets over time, as a heat map of observations a second."""
    query = Query(f"sum by (le) (rate({metric}_bucket{{{selector}}}[$__rate_interval]))", "{{le}}")
    target = _target(query, 0).format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(_WIDTH)
        .height(_HEIGHT)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_model.HeatmapColorMode.SCHEME)
            .scheme("Viridis")
            .scale(heatmap_model.HeatmapColorScale.EXPONENTIAL)
            .steps(64)
            .exponent(0.5)
            .reverse(False)
            .fill("viridis")
        )
        .targets([target])
    )


def new(title: str, uid: str, description: str, variables: tuple[str, ...]) -> dashboard.Dashboard:
    """An empty dashboard with `$datasource` and the variables named."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["karma"])
        .timezone("browser")
        .readonly()
        .time("now-3h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .link(
            dashboard.DashboardLink("KARMA")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["karma"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for name in variables:
        made.with_variable(_variable(name))
    return made


#: What fills a variable: the label's values in this metric.
_FILLED_BY = {
    "stream": ("karma_prompts_dispatched_total", "stream"),
    "model": ("karma_responses_total", "model"),
    "judge": ("karma_verdicts_total", "judge"),
}


def _variable(name: str) -> dashboard.QueryVariable:
    metric, label = _FILLED_BY[name]
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )


def _targets(queries: tuple[Query, ...] | list[Query]) -> list[Builder[Dataquery]]:
    return [_target(query, place) for place, query in enumerate(queries)]


def _target(query: Query, place: int) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expression)
        .legend_format(query.legend)
        .range()
        .ref_id(chr(ord("A") + place))
        .datasource(SOURCE)
    )
