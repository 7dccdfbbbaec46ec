"""A settings file of the service that can be changed."""

import copy

import pytest
import yaml

from detector.config import ENVIRONMENT_PREFIX

SMALLEST = {
    "kafka": {"bootstrap": ["kafka-1.example:9092"], "topics": ["zeek"]},
    "state": {"url": "checkpoints"},
    "outbox": {"folder": "outbox"},
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith(ENVIRONMENT_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def written(tmp_path):
    """Call it with dotted keys and values, or a text, to get a file: the smallest one with these changes."""

    def write(changes=None):
        path = tmp_path / "eastwest.yaml"
        if isinstance(changes, str):
            path.write_text(changes, "utf-8")
            return path
        values = copy.deepcopy(SMALLEST)
        for dotted, value in (changes or {}).items():
            *places, last = dotted.split(".")
            section = values
            for place in places:
                section = section.setdefault(place, {})
            section[last] = value
        path.write_text(yaml.safe_dump(values), "utf-8")
        return path

    return write
