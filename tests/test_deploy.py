"""Manifests that no test can run are read as those read them who do: by Ray's own schema, and by what must not be."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from alphapulse.sweep.workers.metrics import METRICS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.exists(), reason="needs the checkout")


@pytest.fixture(scope="module")
def job():
    return yaml.safe_load((DEPLOY / "kuberay.yaml").read_text())


def test_ray_cluster_is_what_ray_up_reads():
    import jsonschema
    import ray

    config = yaml.safe_load((DEPLOY / "cluster.yaml").read_text())
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    for command in config["head_start_ray_commands"] + config["worker_start_ray_commands"]:
        assert "ray stop" in command or "RAY_AUTH_MODE=token" in command


def test_job_of_kuberay_has_the_version_of_this_ray_and_a_token(job):
    cluster = job["spec"]["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert cluster["rayVersion"].split(".")[:2] == version("ray").split(".")[:2]
    assert cluster["authOptions"] == {"mode": "token"}
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]
    images = {group["template"]["spec"]["containers"][0]["image"] for group in (head, workers)}
    assert len(images) == 1


def test_only_the_head_knows_the_database_and_no_password_stands_in_a_file(job):
    cluster = job["spec"]["rayClusterSpec"]
    (container,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "alphapulse-database"}}]
    assert "DB_" not in json.dumps(job)
    assert "secretRef" not in json.dumps(cluster["workerGroupSpecs"])
    for path in DEPLOY.iterdir():
        assert not re.search(r"(DB_PASS|AUTH_TOKEN)['\"]?\s*[:=]\s*['\"]?(?!\.\.\.)\w", path.read_text()), path


def test_grafana_draws_every_metric_and_no_other():
    board = json.loads((DEPLOY / "grafana.json").read_text())
    drawn = re.findall(r"ray_(alphapulse_\w+)", json.dumps(board["panels"]))
    assert set(drawn) == set(METRICS)
    assert all('study=~"$study"' in panel["targets"][0]["expr"] for panel in board["panels"])
