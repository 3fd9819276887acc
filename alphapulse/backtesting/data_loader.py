"""The public face of loading: `load_backtest_data`, made in `data_pipeline.loading`."""

from alphapulse.data_pipeline.loading import load_backtest_data

__all__ = ["load_backtest_data"]
