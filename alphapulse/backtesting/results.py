"""The public face of a backtest's results: `analyze_results`, made in `reports.tear_sheet`."""

from alphapulse.reports.tear_sheet import analyze_results

__all__ = ["analyze_results"]
