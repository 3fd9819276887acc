"""Charts of the report as figures of plotly, for notebooks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alphapulse.reports.page.chart import PALETTES

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def as_figure(traces: list[dict[str, Any]], layout: Mapping[str, Any], height: int = 420) -> "Figure":
    """Return traces and a layout of the report's as a figure in the colours of its light page."""
    # It takes half a second to import, which nobody waits for who draws nothing.
    from plotly.graph_objects import Figure

    shared = {"height": height, "template": "plotly_white", "hoverlabel": {"align": "left"}}
    return Figure(data=_painted(traces), layout=shared | _painted(dict(layout)))


def _painted(value: Any) -> Any:
    if isinstance(value, str):
        return PALETTES["light"][value[1:]] if value.startswith("@") else value
    if isinstance(value, Mapping):
        return {key: _painted(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [_painted(inner) for inner in value]
    return value
