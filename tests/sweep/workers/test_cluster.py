import pytest

from alphapulse.sweep.workers import codes, tasks
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.losses import ClusterError
from alphapulse.sweep.workers.marks import CANCELLED, told
from alphapulse.sweep.workers.metrics import METRICS, StudyMetrics
from alphapulse.sweep.workers.tasks import Shipment, Tasks


def name_of_task(market, experiment):
    import ray

    return ray.get_runtime_context().get_task_name()


def note(market, experiment, name):
    return told(name)


@pytest.mark.ray
def test_task_that_begins_after_it_was_cancelled_can_tell(ray_cluster):
    import ray

    shipment, cluster = Shipment("none", [ray.put(None), ray.put(None)]), Cluster.__new__(Cluster)
    cluster.cancel("mine")
    workers = Tasks()
    for name, expected in (("mine", CANCELLED), ("another", "")):
        reference = workers.start(shipment, note, name)
        while not workers.wait([reference], timeout=1.0):
            pass
        assert workers.result(reference) == expected


@pytest.mark.ray
def test_tasks_carry_the_name_of_the_study_and_metrics_are_told(ray_cluster, monkeypatch):
    import ray
    import ray.util.metrics

    shipment = Shipment("none", [ray.put(None), ray.put(None)])
    workers = Tasks(title="mine")
    reference = workers.start(shipment, name_of_task, name="generation 1 trials 0-9")
    while not workers.wait([reference], timeout=1.0):
        pass
    assert workers.result(reference) == "mine generation 1 trials 0-9"
    told = StudyMetrics("mine", 0)
    told._told -= 3600
    told.update(36, 0.5, n_failed=1, n_queued=2, n_unstored=3)
    assert told._n_told == 36
    assert [gauge.info["name"] for gauge in told._gauges] == list(METRICS)
    seen = []
    monkeypatch.setattr(ray.util.metrics.Gauge, "set", lambda gauge, value: seen.append((gauge.info["name"], value)))
    # What is told at the end is what the study has, not what it had when it was told last.
    told.finish(40, 0.7, n_failed=2)
    assert dict(seen) == dict(zip(METRICS, (40.0, 2.0, 0.0, 0.7, 0.0, 0.0), strict=True))


@pytest.mark.ray
def test_source_that_changes_under_a_command_is_told_as_that(ray_cluster, monkeypatch):
    import ray

    # What this process had when it began.
    monkeypatch.setattr(tasks, "code_of_driver", lambda: codes.code_here() | {"alphapulse": "of before"})
    workers = Tasks()
    reference = workers.start(Shipment("none", [ray.put(None), ray.put(None)]), note, "mine")
    while not workers.wait([reference], timeout=1.0):
        pass
    with pytest.raises(ClusterError, match=r"source of alphapulse was changed .* instead of of before"):
        workers.result(reference)


def test_nodes_that_join_and_are_lost_are_told_in_a_line_each():
    cluster, lines = Cluster.__new__(Cluster), []
    cluster.say = lines.append
    cluster._nodes, cluster.left_out, cluster.n_cpus = {}, {"c" * 56: "numpy 1 instead of 2"}, 4
    first = {"a" * 56: "10.0.0.1", "c" * 56: "10.0.0.3"}
    cluster._tell_changes(first, 4, 4)
    cluster._tell_changes({"a" * 56: "10.0.0.1", "b" * 56: "10.0.0.2"}, 4, 8)
    cluster._tell_changes({"b" * 56: "10.0.0.2"}, 1, 1)
    assert lines == [
        "Node 10.0.0.2 (bbbbbbbb) joined; 4 CPUs, 8 tasks at a time.",
        "Node 10.0.0.1 (aaaaaaaa) was lost; 1 CPU.",
    ]
