import numpy as np

from alphapulse.market.bars import impossible_prices, impossible_volumes

VALUES = [1.0, 5e-324, 0.0, -0.0, -1.0, np.nan, np.inf, -np.inf]


def test_impossible_prices():
    expected = [False, False, True, True, True, True, True, True]
    assert impossible_prices(np.array(VALUES)).tolist() == expected
    assert [bool(impossible_prices(value)) for value in VALUES] == expected


def test_impossible_volumes():
    expected = [False, False, False, False, True, False, True, True]
    assert impossible_volumes(np.array(VALUES)).tolist() == expected
    assert [bool(impossible_volumes(value)) for value in VALUES] == expected
