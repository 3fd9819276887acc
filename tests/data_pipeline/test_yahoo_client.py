from alphapulse.data_pipeline.providers.yahoo_client import BURST, Pace


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_pace_lets_a_burst_go_and_then_keeps_to_the_rate():
    clock = Clock()
    pace = Pace(60.0, clock)
    delays = [pace.delay() for _ in range(BURST + 3)]
    assert [delay for delay in delays if delay > 0.0] == [1.0, 2.0, 3.0]
    clock.now = 100.0
    assert pace.delay() <= 0.0


def test_pace_holds_everybody_back():
    clock = Clock()
    pace = Pace(60.0, clock)
    pace.hold(30.0)
    pace.hold(10.0)
    assert pace.delay() == 30.0
    clock.now = 31.0
    assert pace.delay() <= 0.0
