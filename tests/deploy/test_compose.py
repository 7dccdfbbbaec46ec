"""The compose file and what it mounts: as the specification has it, and each config as its program wants it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from detector.service.checks import check
from detector.service.loading import load_service_settings
from tests.image.dockerfile import stages

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
SCHEMA = Path(__file__).parent / "data" / "compose-spec.json"  # of compose-go 2.16.2, without descriptions
GOFLOW2_FLAGS = {"-addr", "-format", "-listen", "-transport", "-transport.kafka.brokers", "-transport.kafka.topic"}
"""Those of goflow2 2 (``cmd/goflow2/main.go``, ``transport/kafka/kafka.go``) that are used here."""


def test_it_is_as_the_specification_has_it():
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(COMPOSE)


def mounts(service):
    """(file here, path in the container) of what is mounted, but volumes."""
    for mount in SERVICES[service].get("volumes", []):
        source, target, *mode = mount.split(":")
        if source.startswith("."):
            assert mode == ["ro"], mount
            yield (FOLDER / source).resolve(), target
        else:
            assert source in COMPOSE["volumes"]


def test_what_is_mounted_is_there():
    found = [source for service in SERVICES for source, _ in mounts(service)]
    assert len(found) == 7
    assert all(source.exists() for source in found)


def test_images_have_versions_and_nobody_is_given_more_than_needed():
    for name, service in SERVICES.items():
        assert not service["image"].rstrip("}").endswith((":latest", "/")), name
        assert not service.get("privileged")
        if name not in {"kafka", "topics"}:  # their image starts as nobody, and writes where it lies
            assert service["cap_drop"] == ["ALL"], name
    assert SERVICES["eastwest"]["read_only"]
    assert all(
        port.startswith("127.0.0.1:") or port.endswith("/udp") for s in SERVICES.values() for port in s.get("ports", [])
    )


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """The settings of eastwest, with the plant file where it lies here."""
    places = dict(mounts("eastwest"))
    text = next(path for path in places if path.name == "eastwest.yaml").read_text(encoding="utf-8")
    for source, target in places.items():
        text = text.replace(target, str(source))
    (tmp_path / "eastwest.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return load_service_settings(tmp_path / "eastwest.yaml")


def test_the_service_would_start_with_its_settings(settings):
    assert [finding.key for finding in check(settings) if finding.fatal] == []
    assert settings.memory.limit_bytes == 4 << 30
    assert SERVICES["eastwest"]["mem_limit"] == "4g"


def test_what_goflow2_writes_is_what_eastwest_reads(settings):
    words = SERVICES["goflow2"]["command"]
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert set(flags) == GOFLOW2_FLAGS
    (topic,) = settings.kafka.topics
    made = SERVICES["topics"]["command"]
    assert flags["-transport.kafka.topic"] == topic.name == made[made.index("--topic") + 1]
    assert list(settings.kafka.bootstrap) == [flags["-transport.kafka.brokers"]]
    assert (flags["-transport"], flags["-format"], topic.format) == ("kafka", "json", "netflow.goflow2")
    assert "message.timestamp.type=LogAppendTime" in made


def test_prometheus_takes_its_config_and_the_rules_of_the_chart(tmp_path, require_tool):
    for source, target in mounts("prometheus"):
        copy = tmp_path / Path(target).relative_to("/etc/prometheus")
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    checked = subprocess.run(
        [require_tool("promtool"), "check", "config", tmp_path / "prometheus.yml"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 rule files found" in checked.stdout
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    hosts = {target.partition(":")[0] for job in jobs for part in job["static_configs"] for target in part["targets"]}
    assert hosts <= set(SERVICES)


def test_grafana_is_given_the_dashboard_of_the_chart():
    places = {target: source for source, target in mounts("grafana")}
    provider = yaml.safe_load((FOLDER / "grafana" / "dashboards.yaml").read_text(encoding="utf-8"))["providers"][0]
    dashboards = list(places[provider["options"]["path"]].glob("*.json"))
    assert [path.name for path in dashboards] == ["eastwest.json"]
    source = yaml.safe_load((FOLDER / "grafana" / "datasources.yaml").read_text(encoding="utf-8"))["datasources"][0]
    assert source["url"] == "http://prometheus:9090"


def test_the_image_finds_its_settings_and_may_write_its_volume():
    final = {instruction.word: instruction for instruction in stages(ROOT / "Dockerfile")[-1]}
    targets = [volume.split(":")[1] for volume in SERVICES["eastwest"]["volumes"]]
    assert final["CMD"].array()[-1] in targets
    assert final["WORKDIR"].rest in targets
