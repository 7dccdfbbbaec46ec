"""The values' schema has the settings of the service as they are: Helm refuses what the service would refuse."""

import copy
import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

from detector.service.loading import json_schema, keys

CHART = Path(__file__).resolve().parents[2] / "helm" / "eastwest"
SCHEMA = CHART / "values.schema.json"
OURS = ("stages",)  # the chart says what a process does
GIVEN = {"State": "url", "Outbox": "folder"}  # the chart knows a place when there is none in the values


def mirrored():
    """The schema of the settings as the values have it: ``$defs``, and what `config` is. That of the values is of
    draft 7, which each Helm reads, as are the words that the settings' schema uses."""
    settings = copy.deepcopy(json_schema())
    del settings["$schema"]
    definitions = settings.pop("$defs")
    for name in OURS:
        del settings["properties"][name]
    del definitions["Kafka"]["properties"]["group_instance_id"]
    for section, key in GIVEN.items():
        definitions[section]["required"].remove(key)
    settings["required"] = ["kafka"]
    return definitions, settings


def test_the_schema_mirrors_the_settings_of_the_service():
    """``EASTWEST_GOLDEN=write`` writes them anew."""
    definitions, settings = mirrored()
    schema = json.loads(SCHEMA.read_text("utf-8"))
    wanted = {**schema, "$defs": definitions, "properties": {**schema["properties"], "config": settings}}
    if os.environ.get("EASTWEST_GOLDEN") == "write":
        SCHEMA.write_text(json.dumps(wanted, indent=2) + "\n", "utf-8")
        schema = wanted
    assert schema["properties"]["config"] == settings
    assert schema["$defs"] == definitions
    assert len([key for key in keys() if key.path.startswith("kafka.")]) > 20


def test_every_value_has_its_place_in_the_schema():
    """What `values.yaml` has is known, and what is known is in it: one cannot be set without being told of."""
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    schema = json.loads(SCHEMA.read_text("utf-8"))

    def compare(value, known, place):
        told = known.get("properties")
        if told is None or place == "config":
            return
        assert set(value) | {"global"} >= set(told) - {"claims", "successThreshold", "initialDelaySeconds"}, place
        for name, inner in value.items():
            if isinstance(inner, dict):
                compare(inner, told[name], name)

    compare(values, schema, "values")
    values["config"]["kafka"] = {"bootstrap": ["kafka:9092"], "topics": ["zeek"]}
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": {"replicas": 2}}, "maximum of 1"),
        ({"config": {"kafka": {"bootstap": ["a:1"], "topics": ["zeek"]}}}, "bootstap"),
        ({"config": {"kafka": {"bootstrap": [], "topics": ["zeek"]}}}, "non-empty"),
        ({"config": {"stages": ["normalize"]}}, "stages"),
        ({"config": {"state": {"every_seconds": 0}}}, "minimum of 1"),
        ({"config": {"alerts": {"sinks": [{"type": "carrier-pigeon"}]}}}, "carrier-pigeon"),
        ({"normalise": {"enabled": True}}, "normalise"),
        ({"score": {"resources": {"requests": {"cpu": "1"}}}}, "limits"),
        ({"secrets": {"kafka": {"password": "hunter2"}}}, "password"),
        ({"image": {"repository": "eastwest", "digest": "latest"}}, "latest"),
    ],
)
def test_what_cannot_work_is_refused(change, said):
    values = {"config": {"kafka": {"bootstrap": ["kafka:9092"], "topics": ["zeek"]}}}
    for name, value in change.items():
        values[name] = {**values.get(name, {}), **value} if name == "config" else value
    schema = json.loads(SCHEMA.read_text("utf-8"))
    errors = [str(error.message) for error in jsonschema.Draft7Validator(schema).iter_errors(values)]
    assert errors
    assert said in " ".join(errors)
