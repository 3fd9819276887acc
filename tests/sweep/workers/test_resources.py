import pytest

from alphapulse.config.schema import ResourcesConfig
from alphapulse.errors import ConfigError
from alphapulse.sweep.workers.resources import count_slots, describe, suits, task_options


def test_task_options_are_those_of_ray():
    assert task_options(ResourcesConfig(), {}) == {"num_cpus": 1.0}
    assert task_options(ResourcesConfig(2, 0.5, {"fpga": 1}, {"zone": "a"}), {"b": "old", "a": "old"}) == {
        "num_cpus": 2,
        "num_gpus": 0.5,
        "resources": {"fpga": 1},
        "label_selector": {"zone": "a", "ray.io/node-id": "!in(a, b)"},
    }


@pytest.mark.parametrize(
    ("asked", "n_slots"),
    [
        (ResourcesConfig(), 8),
        (ResourcesConfig(num_cpus=0.1), 80),
        (ResourcesConfig(num_cpus=3), 2),
        (ResourcesConfig(num_gpus=0.5), 2),
        (ResourcesConfig(custom={"fpga": 1}), 0),
        (ResourcesConfig(labels={"zone": "a"}), 8),
        (ResourcesConfig(labels={"zone": "!in(a, b)"}), 0),
    ],
)
def test_slots_are_counted_as_ray_schedules(asked, n_slots):
    assert count_slots(asked, {"Resources": {"CPU": 8.0, "GPU": 1.0}, "Labels": {"zone": "a"}}) == n_slots


@pytest.mark.parametrize(
    ("selector", "value", "is_suitable"),
    [("a", "a", True), ("a", None, False), ("!a", None, True), ("in(a, b)", "b", True), ("!in(a,b)", "b", False)],
)
def test_suits_reads_the_selectors_of_ray(selector, value, is_suitable):
    assert suits(selector, value) is is_suitable


def test_what_is_asked_is_said_and_checked():
    assert describe(ResourcesConfig(1, 0.5, {"fpga": 2}, {"zone": "a"})) == "1 CPU, 0.5 GPU, 2 fpga, label zone=a"
    for wrong in ({"num_cpus": 0}, {"num_gpus": -1}, {"custom": {"fpga": "many"}}, {"labels": {"zone": 1}}):
        with pytest.raises(ConfigError, match=r"cluster\.resources"):
            ResourcesConfig(**wrong)
