"""The chart on a real API server: it takes every object, finds pods as restricted as they can be, and Helm installs,
upgrades, rolls back and removes it."""

import json
from pathlib import Path

import helm_python
import pytest
import yaml

from tests.cluster.api import PROGRAMS, Api
from tests.conftest import IN_CI
from tests.helm.chart import CHART, EXAMPLES, NAMESPACE, RELEASE, example, merged, one, pods, rendered

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CRDS = sorted((Path(__file__).resolve().parents[1] / "helm" / "crds").glob("*.yaml"))
RESTRICTED = {f"pod-security.kubernetes.io/{what}": "restricted" for what in ("enforce", "warn")}


@pytest.fixture(scope="module")
def api(tmp_path_factory, require_tool):
    if not (PROGRAMS / "kube-apiserver").exists():
        assert not IN_CI
        pytest.skip("no kube-apiserver: `make check-cluster` builds it")
    require_tool("openssl")
    with Api(tmp_path_factory.mktemp("cluster"), require_tool("kubectl")) as api:
        for crd in CRDS:
            api.run("apply", "--server-side", "--filename", str(crd))
        api.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        yield api


@pytest.fixture
def namespace(api):
    """An empty one that takes restricted pods only, and says so of what makes pods."""
    labels = {"metadata": {"name": NAMESPACE, "labels": RESTRICTED}}
    api.run("apply", "--filename=-", text=json.dumps({"apiVersion": "v1", "kind": "Namespace", **labels}))
    yield NAMESPACE
    kinds = "statefulset,deployment,service,configmap,serviceaccount,networkpolicy,poddisruptionbudget,secret"
    custom = "podmonitor,servicemonitor,prometheusrule,scaledobject"
    api.run("delete", "--all", "--namespace", NAMESPACE, "--wait=false", f"{kinds},{custom}")


def apply(api, objects, *options):
    text = yaml.safe_dump_all(objects)
    return api.run("apply", "--server-side", "--validate=strict", "--filename=-", *options, text=text)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_server_takes_every_object(api, namespace, name):
    objects = rendered(example(name))
    for options in (["--dry-run=server"], []):
        done = apply(api, objects, *options)
        assert done.stdout.count("serverside-applied") == len(objects)
        assert "Warning" not in done.stderr  # of PodSecurity, say
    kept = json.loads(api.run("get", "--namespace", namespace, "statefulset", "--output=json").stdout)["items"]
    assert [each["metadata"]["name"] for each in kept] == [f"{RELEASE}-eastwest-score"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_pass_the_admission_of_restricted_namespaces(api, namespace, name):
    for number, template in enumerate(pods(rendered(example(name)))):
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {**pod["metadata"], "name": f"pod-{number}", "namespace": namespace}
        pod["spec"]["volumes"] = [each for each in pod["spec"]["volumes"] if each["name"] != "data"] + [
            {"name": "data", "emptyDir": {}}]  # fmt: skip
        apply(api, [pod], "--dry-run=server")
        pod["spec"]["containers"][0]["securityContext"]["capabilities"] = {}
        refused = api.run(
            "apply", "--server-side", "--dry-run=server", "--filename=-", text=json.dumps(pod), check=False
        )
        assert "violates PodSecurity" in refused.stderr


def test_a_field_that_it_does_not_know_is_refused(api, namespace):
    stateful = one(rendered(example("single")), "StatefulSet")
    stateful["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["pfad"] = "/livez"
    done = api.run("apply", "--server-side", "--validate=strict", "--dry-run=server", "--filename=-",
                   text=json.dumps(stateful), check=False)  # fmt: skip
    assert "pfad" in done.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_helm_installs_upgrades_rolls_back_and_removes_it(api, namespace, name):
    def shown():
        text = api.run("get", "--namespace", namespace, "configmap", f"{RELEASE}-eastwest", "--output=json").stdout
        return yaml.safe_load(json.loads(text)["data"]["eastwest.yaml"])

    values = example(name)
    with helm_python.Config(namespace=namespace, kubeconfig_path=str(api.kubeconfig)) as helm:
        assert helm.install(str(CHART), RELEASE, values)["status"] == "deployed"
        before = shown()
        louder = merged(values, {"config": {"log": {"level": "debug"}}, "image": {"tag": "0.2.0"}})
        assert helm.upgrade(str(CHART), RELEASE, louder)["revision"] == 2
        assert shown() == merged(before, {"log": {"level": "debug"}})
        helm.rollback(RELEASE, version=1)
        assert shown() == before
        with pytest.raises(helm_python.HelmError, match="maximum"):
            helm.upgrade(str(CHART), RELEASE, merged(values, {"score": {"replicas": 2}}))
        helm.uninstall(RELEASE)
        left = api.run("get", "--namespace", namespace, "statefulset,deployment,configmap", "--output=name").stdout
        assert RELEASE not in left
