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
    for name in ("ray-head", "ray-worker", "dashboard"):
        environment = services[name]["environment"]
        assert environment["DB_HOST"] == "database"
        assert environment["DB_PASS"].startswith("${DB_PASS:?")
    defaults = dict(re.findall(r"\$\{(DB_NAME|DB_USER):-(\w+)\}", text))
    assert defaults == {"DB_NAME": Settings().name, "DB_USER": Settings().user}
