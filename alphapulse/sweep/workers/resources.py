"""What a task of trials asks for, and how many such tasks the nodes of a cluster run at a time."""

from collections.abc import Mapping
from typing import Any

from alphapulse.config.machines.cluster import ResourcesConfig

NODE_ID = "ray.io/node-id"


def task_options(resources: ResourcesConfig, left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return what Ray is told of a task that runs on none of the nodes `left_out`."""
    options: dict[str, Any] = {"num_cpus": resources.num_cpus}
    if resources.num_gpus:
        options["num_gpus"] = resources.num_gpus
    if resources.custom:
        options["resources"] = dict(resources.custom)
    labels = dict(resources.labels)
    if left_out:
        labels[NODE_ID] = f"!in({', '.join(sorted(left_out))})"
    if labels:
        options["label_selector"] = labels
    return options


def count_slots(resources: ResourcesConfig, node: Mapping[str, Any]) -> int:
    """Return how many tasks run on a node at a time, by what `ray.nodes` says of it; 0 where it does not suit."""
    labels = node.get("Labels", {})
    if not all(suits(selector, labels.get(name)) for name, selector in resources.labels.items()):
        return 0
    asked = {"CPU": resources.num_cpus, "GPU": resources.num_gpus, **resources.custom}
    return min(int(node["Resources"].get(name, 0) / amount + 1e-9) for name, amount in asked.items() if amount)


def suits(selector: str, value: str | None) -> bool:
    """Return whether a node's label, None where it has none, is what Ray's selector wants."""
    is_negated, text = selector.startswith("!"), selector.removeprefix("!").strip()
    wanted = text.removeprefix("in(").removesuffix(")").split(",") if text.startswith("in(") else [text]
    return (value in [one.strip() for one in wanted]) is not is_negated


def describe(resources: ResourcesConfig) -> str:
    """Return what a task asks for in words: "1 CPU, 0.5 GPU, label zone=a"."""
    parts = [f"{resources.num_cpus:g} CPU"]
    if resources.num_gpus:
        parts.append(f"{resources.num_gpus:g} GPU")
    parts += [f"{amount:g} {name}" for name, amount in resources.custom.items()]
    parts += [f"label {name}={value}" for name, value in resources.labels.items()]
    return ", ".join(parts)
