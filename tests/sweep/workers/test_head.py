"""A head that is away for a while, and one that is lost."""

import socket

import pytest

from alphapulse.sweep.workers.head import Head


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("10.0.0.1:6379", "10.0.0.1", 6379), ("ray://host:10001", "host", 10001), ("[::1]:6379", "::1", 6379)],
)
def test_head_is_read_from_an_address(address, host, port):
    head = Head.at(address, 15.0)
    assert (head.host, head.port) == (host, port)


def test_head_is_lost_when_it_was_away_for_the_timeout():
    moments = iter([100.0, 105.0, 114.9, 115.0, 200.0, 214.0])
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = Head("127.0.0.1", server.getsockname()[1], 15.0, lambda: next(moments))
        assert not head.is_lost()
    assert [head.is_lost() for _ in range(4)] == [False, False, False, True]
    with socket.create_server(("127.0.0.1", head.port)):
        assert head.answers()
        assert not head.is_lost()
    # It counts anew after it was back.
    assert [head.is_lost() for _ in range(2)] == [False, False]
