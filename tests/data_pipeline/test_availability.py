import numpy as np
import pytest
from sqlalchemy import text

from alphapulse.config.schema import DataConfig
from alphapulse.data_pipeline.loading import load_history
from alphapulse.errors import DataError

pytestmark = pytest.mark.postgres


def test_load_history_fetches_from_yahoo_what_is_absent(database, yahoo):
    data = DataConfig(
        source="yahoo", symbols=("^GSPC",), volatility_symbol="^VIX", start="2019-01-02", end="2019-12-31"
    )
    history = load_history(database, data, 50)
    assert history.first == 50
    assert np.isfinite(history.bars.volatility).all()
    with database.sync_engine.begin() as connection:
        n_stored = connection.scalar(text("SELECT count(*) FROM ohlcv_data"))
        connection.execute(text("DELETE FROM ohlcv_data WHERE timestamp > '2019-06-01' AND symbol = '^GSPC'"))
    assert n_stored > 16_000
    yahoo.requests.clear()
    # What is there is not fetched again: a study's data does not change under it.
    assert len(load_history(database, data, 50).bars) < len(history.bars)
    assert yahoo.requests == []


@pytest.mark.usefixtures("yahoo")
def test_load_history_says_what_yahoo_lacks(database):
    with pytest.raises(DataError, match="Yahoo has no bars for 'NOPE' 1d"):
        load_history(database, DataConfig(source="yahoo", symbols=("NOPE",)), 50)
    data = DataConfig(source="yahoo", symbols=("SPY",), volatility_symbol="NOPE")
    with pytest.raises(DataError, match="No bars for 'NOPE' 1d"):
        load_history(database, data, 50)
