import io

from alphapulse.sweep.workers.streams import WithoutRaylet


def test_lines_of_raylets_are_left_out_and_all_others_stay():
    stream = io.StringIO()
    through = WithoutRaylet(stream)
    print("before", file=through)
    print("(raylet) A worker died or was killed", file=through)
    print("\x1b[36m(raylet)\x1b[0m A worker died", file=through)
    print("(raylet) A worker died", end="", file=through)
    print(file=through)
    print("a strategy's own words of a (raylet)", file=through)
    print(file=through)
    assert stream.getvalue() == "before\na strategy's own words of a (raylet)\n\n"
