"""The chart as Helm renders it, with values of the examples and changes to them.

Helm is a library here (helm-python-sdk carries Helm 4, built from its sources), so no program is needed.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).resolve().parents[2] / "helm" / "eastwest"
EXAMPLES = {path.stem.removeprefix("values-example-"): path for path in sorted(CHART.glob("values-example-*.yaml"))}
RELEASE, NAMESPACE = "soc", "security"
KUBERNETES = "1.34"

Object = dict[str, Any]


def example(name: str) -> dict[str, Any]:
    """The values of an example, to be changed."""
    values: dict[str, Any] = yaml.safe_load(EXAMPLES[name].read_text("utf-8"))
    return values


def smallest(**changes: Any) -> dict[str, Any]:
    """The least that must be given."""
    return merged({"config": {"kafka": {"bootstrap": ["kafka:9092"], "topics": ["zeek"]}}}, changes)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm lays values over others: mappings key by key, the rest as a whole."""
    out = copy.deepcopy(dict(values))
    for name, change in changes.items():
        known = out.get(name)
        out[name] = merged(known, change) if isinstance(known, dict) and isinstance(change, Mapping) else change
    return out


def rendered(values: Mapping[str, Any], **how: Any) -> list[Object]:
    """All objects of an installation."""
    return copy.deepcopy(_objects(json.dumps(values), json.dumps(how)))


def notes(values: Mapping[str, Any]) -> str:
    """What Helm says after an installation."""
    return next(text for name, text in _texts(json.dumps(values), "{}") if name.endswith("NOTES.txt"))


def one(objects: Iterable[Object], kind: str, end: str = "") -> Object:
    """The only object of a kind whose name ends so."""
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(end))
    return found


def pods(objects: Iterable[Object]) -> Iterator[Object]:
    """Templates of pods."""
    for each in objects:
        if each["kind"] in {"StatefulSet", "Deployment"}:
            yield each["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    """All of a pod, those that come first too."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


@cache
def _texts(values: str, how: str) -> list[tuple[str, str]]:
    with helm_python.Chart.load(str(CHART)) as chart:
        wish = {"name": RELEASE, "namespace": NAMESPACE, "is_install": True, **json.loads(how)}
        return sorted(chart.render(json.loads(values), **wish).items())


@cache
def _objects(values: str, how: str) -> list[Object]:
    texts = [text for name, text in _texts(values, how) if not name.endswith("NOTES.txt")]
    return [each for text in texts for each in yaml.load_all(text, yaml.CSafeLoader) if each]
