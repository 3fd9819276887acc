import os

import pytest

from alphapulse.config.settings import read_settings, without_password
from alphapulse.errors import ConfigError

VARIABLES = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASS", "ALPHAPULSE_HOME", "RAY_ADDRESS")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_read_settings_has_defaults():
    settings = read_settings()
    assert settings.host is None
    assert (settings.port, settings.name, settings.user) == (5432, "backtesting", "devuser")
    assert settings.password == "devpassword"
    assert settings.home.is_absolute()
    assert settings.home.name == "alphapulse"


def test_read_settings_reads_the_environment_of_the_moment(monkeypatch, tmp_path):
    monkeypatch.setenv("DB_HOST", "db.example")
    monkeypatch.setenv("DB_PORT", "5433")
    monkeypatch.setenv("DB_PASS", "p@ss:/%41")
    monkeypatch.setenv("ALPHAPULSE_HOME", str(tmp_path))
    assert read_settings().ray_address is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert read_settings().ray_address == "10.0.0.1:6379"
    settings = read_settings()
    assert (settings.host, settings.port, settings.home) == ("db.example", 5433, tmp_path)
    assert settings.password == "p@ss:/%41"
    assert "p@ss" not in repr(settings)
    monkeypatch.setenv("DB_HOST", "")
    assert read_settings().host is None


@pytest.mark.parametrize("port", ["x", "0", "65536", "5432.5"])
def test_read_settings_refuses_a_port_that_is_none(monkeypatch, port):
    monkeypatch.setenv("DB_PORT", port)
    with pytest.raises(ConfigError, match=f"`DB_PORT` must be a whole number in .1, 65535., but got '{port}'"):
        read_settings()


def test_without_password_hides_it_for_a_while(monkeypatch):
    monkeypatch.setenv("DB_PASS", "s3cret")
    with without_password():
        assert "DB_PASS" not in os.environ
    assert os.environ["DB_PASS"] == "s3cret"
    monkeypatch.delenv("DB_PASS")
    with without_password():
        pass
    assert "DB_PASS" not in os.environ
