import re
from pathlib import Path

import pytest
import yaml

from alphapulse.config.settings import Settings

PATH = Path(__file__).parents[1] / "docker-compose.yml"
pytestmark = pytest.mark.skipif(not PATH.exists(), reason="needs the checkout")


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(PATH.read_text())["services"]


def test_services_are_all_there(services):
    assert set(services) == {"database", "ray-head", "ray-worker", "dashboard"}
    assert "timescaledb" in services["database"]["image"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)


def test_ports_are_bound_to_this_machine(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_credentials_come_from_the_environment(services):
    text = PATH.read_text()
    assert Settings().password not in text
    assert services["database"]["environment"]["POSTGRES_PASSWORD"].startswith("${DB_PASS:?")
    for name in ("ray-head", "dashboard"):
        environment = services[name]["environment"]
        assert environment["DB_HOST"] == "database"
        assert environment["DB_PASS"].startswith("${DB_PASS:?")
    assert not any(name.startswith("DB_") for name in services["ray-worker"]["environment"])
    defaults = dict(re.findall(r"\$\{(DB_NAME|DB_USER):-(\w+)\}", text))
    assert defaults == {"DB_NAME": Settings().name, "DB_USER": Settings().user}


def test_every_service_of_the_cluster_has_its_token_and_its_size(services):
    for name in ("ray-head", "ray-worker", "dashboard"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert services[name]["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
    for name in ("ray-head", "ray-worker"):
        assert any(part.startswith("--num-cpus=") for part in services[name]["command"])
        assert "healthcheck" in services[name]


def test_images_are_pinned(services):
    assert re.search(r":\d+\.\d+\.\d+-pg17\}$", services["database"]["image"])
    assert re.search(
        r"FROM python:\$\{PYTHON_VERSION:-3\.11\.\d+\}", services["ray-head"]["build"]["dockerfile_inline"]
    )
