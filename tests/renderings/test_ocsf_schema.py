"""OCSF findings against the published schemas: the release they name, and those after it."""

from dataclasses import replace
from functools import cache

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from detector.renderings.kinds import RENDERINGS
from detector.renderings.ocsf import OCSF_VERSION
from tests.renderings.samples import ALERT, OPEN, SAMPLES, hostile


@cache
def validator(version):
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version)).get_class_schema("detection_finding")
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def problems(told, version=OCSF_VERSION):
    document = orjson.loads(RENDERINGS["ocsf"](told))
    return [f"{error.json_path}: {error.message}" for error in validator(version).iter_errors(document)]


@pytest.mark.parametrize("sample", sorted(SAMPLES))
def test_each_sample_is_a_detection_finding(sample):
    assert problems(SAMPLES[sample]) == []


@pytest.mark.parametrize("version", ["1.6.0", "1.7.0", "1.8.0"])
def test_later_releases_take_it_too(version):
    assert [problem for told in SAMPLES.values() for problem in problems(told, version)] == []


@given(st.text(min_size=1), st.sampled_from(["low", "high"]), st.sampled_from(["open", "suppressed", "learned"]))
def test_any_alert_is_a_detection_finding(text, severity, status):
    told = hostile(text)
    assert problems(replace(told, record=replace(told.record, severity=severity, status=status))) == []


@pytest.mark.parametrize("src", ["2001:db8::1", "fe80::1", "::ffff:192.0.2.1", "192.0.2.1", "nonsense"])
def test_any_address_is_one_of_the_schema(src):
    assert problems(replace(OPEN, record=replace(ALERT, src=src))) == []


def test_the_schema_finds_what_is_wrong():
    document = orjson.loads(RENDERINGS["ocsf"](OPEN)) | {"severity_id": "high", "invented": 1}
    wrong = {error.validator for error in validator(OCSF_VERSION).iter_errors(document)}
    assert wrong == {"type", "enum", "additionalProperties"}
