"""The chart: Helm finds nothing to mend, each object is what Kubernetes takes, and what must hold for each holds."""

import copy
import json
import re
from pathlib import Path

import helm_python
import jsonschema
import kubernetes_validate
import pytest
import yaml

from detector.service.health import BEAT_SECONDS
from detector.service.loading import load_service_settings
from tests.helm.chart import (
    CHART,
    EXAMPLES,
    KUBERNETES,
    NAMESPACE,
    RELEASE,
    containers,
    example,
    merged,
    notes,
    one,
    pods,
    rendered,
    smallest,
)

VERSIONS = ("1.27", "1.34", "1.37")  # the oldest that the chart takes, the newest there is, one between
CRDS = {
    crd["spec"]["names"]["kind"]: crd
    for path in sorted((Path(__file__).parent / "crds").glob("*.yaml"))
    for crd in [yaml.safe_load(path.read_text())]
}
ALL = {
    **{name: example(name) for name in EXAMPLES},
    "smallest": smallest(),
    "everything": merged(
        example("scaled"),
        {
            "plant": "zones: []\n",
            "decisions": "- {}\n",
            "commonLabels": {"team": "soc"},
            "imagePullSecrets": [{"name": "registry"}],
            "normalize": {"staticMembership": True, "podAnnotations": {"a": "b"},
                          "tolerations": [{"operator": "Exists"}]},
            "score": {"nodeSelector": {"disk": "fast"}, "affinity": {"nodeAffinity": {}}, "priorityClassName": "high",
                      "topologySpreadConstraints": [
                          {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
                      "persistence": {"storageClassName": "fast", "annotations": {"a": "b"}}},
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
            "extraVolumes": [{"name": "ca", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
            "monitor": {"relabelings": [{"action": "labeldrop", "regex": "pod"}]},
            "prometheusRule": {"disabled": ["EastwestDrift"], "runbookUrl": "https://wiki.example/eastwest",
                               "extraRules": [{"alert": "Mine", "expr": "vector(1)"}]},
            "extraObjects": ["kind: Secret\napiVersion: v1\nmetadata: {name: '{{ .Release.Name }}-mine'}\n",
                             {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "other"}}],
        },
    ),
}  # fmt: skip


@pytest.fixture(params=ALL)
def objects(request):
    return rendered(ALL[request.param])


# --- what others have to say ---


@pytest.mark.parametrize("name", ALL)
def test_helm_finds_nothing_to_mend(name):
    found = helm_python.lint(str(CHART), ALL[name], strict=True, kube_version=KUBERNETES)
    assert found["total_charts_linted"] == 1
    assert [said["error"] for said in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", VERSIONS)
def test_each_object_is_what_kubernetes_takes(objects, version):
    known = [each for each in objects if each["kind"] not in CRDS]
    assert len(known) > 5
    for each in known:
        kubernetes_validate.validate(each, version, strict=True)


def test_each_object_of_an_operator_is_what_that_takes(objects):
    for each in objects:
        if each["kind"] in CRDS:
            crd = CRDS[each["kind"]]
            (version,) = (
                one for one in crd["spec"]["versions"] if f"{crd['spec']['group']}/{one['name']}" == each["apiVersion"]
            )
            jsonschema.validate(each, closed(version["schema"]["openAPIV3Schema"], top=True))


def closed(schema, *, top=False):
    """The schema of a CRD, which takes no field that it does not know: an API server would leave that out."""
    out = copy.deepcopy(schema)
    if "pattern" in out:
        out["pattern"] = re.sub(r"^\^\(\?i\)", "(?i)^", out["pattern"])  # Go takes flags anywhere
    if "properties" in out:
        out["properties"] = {name: closed(inner) for name, inner in out["properties"].items()}
        if top:
            out["properties"]["metadata"] = {"type": "object"}
        if not out.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    if isinstance(out.get("additionalProperties"), dict):
        out["additionalProperties"] = closed(out["additionalProperties"])
    if "items" in out:
        out["items"] = closed(out["items"])
    return out


def test_a_field_that_an_operator_does_not_know_is_found():
    monitor = one(rendered(ALL["single"]), "PodMonitor")
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "1s"
    schema = CRDS["PodMonitor"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    with pytest.raises(jsonschema.ValidationError, match="intervall"):
        jsonschema.validate(monitor, closed(schema, top=True))


# --- what must hold for all ---


def test_pods_are_as_restricted_as_kubernetes_knows(objects):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, restricted, and more."""
    templates = list(pods(objects))
    assert templates
    for pod in templates:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert min(security["runAsUser"], security["runAsGroup"], security["fsGroup"]) > 1000
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert {kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}} <= {
            "configMap", "secret", "emptyDir", "persistentVolumeClaim"}  # fmt: skip
        for container in containers(pod):
            held = container["securityContext"]
            assert held["allowPrivilegeEscalation"] is False
            assert held["readOnlyRootFilesystem"] is True
            assert held["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory", "ephemeral-storage"} <= container["resources"]["limits"].keys()
            assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
    account = one(objects, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert not [each for each in objects if "Role" in each["kind"]]


def test_everything_has_labels_and_finds_its_own(objects):
    ours = {"app.kubernetes.io/name": "eastwest", "app.kubernetes.io/instance": RELEASE}
    for each in objects:
        if each["metadata"]["name"].startswith(f"{RELEASE}-eastwest"):
            assert each["metadata"]["labels"].items() >= ours.items(), each["kind"]
            assert each["metadata"]["namespace"] == NAMESPACE
            assert len(each["metadata"]["name"]) <= 63
    for each in objects:
        if each["kind"] in {"StatefulSet", "Deployment"}:
            wanted = each["spec"]["selector"]["matchLabels"]
            assert each["spec"]["template"]["metadata"]["labels"].items() >= wanted.items()
            assert wanted["app.kubernetes.io/component"] in {"score", "normalize"}
            for spread in each["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
                assert spread["labelSelector"]["matchLabels"] == wanted


def test_volumes_that_are_mounted_are_there(objects):
    for pod in pods(objects):
        there = {volume["name"] for volume in pod["spec"]["volumes"]}
        claims = {"data"} if "data" not in there else set()
        for container in containers(pod):
            names = [mount["name"] for mount in container["volumeMounts"]]
            assert set(names) <= there | claims
            assert len({mount["mountPath"] for mount in container["volumeMounts"]}) == len(names)


@pytest.mark.parametrize("name", ALL)
def test_the_service_reads_the_settings(name, tmp_path, monkeypatch):
    """As its own code does, with the variables of each kind of process."""
    objects = rendered(ALL[name])
    file = tmp_path / "eastwest.yaml"
    file.write_text(one(objects, "ConfigMap", "-eastwest")["data"]["eastwest.yaml"])
    stages = []
    for pod in pods(objects):
        with monkeypatch.context() as patch:
            for variable in pod["spec"]["containers"][0]["env"] or ():
                told = variable.get("value")
                patch.setenv(
                    variable["name"],
                    {"EASTWEST_MEMORY__LIMIT_BYTES": str(4 << 30)}.get(variable["name"], told or "soc-0"),
                )
            settings = load_service_settings(file)
            stages.append(settings.stages)
            assert settings.http.host == "0.0.0.0"  # noqa: S104 - in a pod of its own
            assert str(settings.outbox.folder).startswith("/var/lib/eastwest/")
    scaled = ALL[name].get("normalize", {}).get("enabled")
    assert sorted(stages) == (
        [("normalize",), ("score", "correlate")] if scaled else [("normalize", "score", "correlate")]
    )


@pytest.mark.parametrize("name", ALL)
def test_full_tables_fit_the_memory_of_the_pod(name, tmp_path, monkeypatch):
    from detector.service import memory

    objects = rendered(ALL[name])
    file = tmp_path / "eastwest.yaml"
    file.write_text(one(objects, "ConfigMap", "-eastwest")["data"]["eastwest.yaml"])
    container = one(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    (limit,) = (each["valueFrom"] for each in container["env"] if each["name"] == "EASTWEST_MEMORY__LIMIT_BYTES")
    assert limit == {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1"}}
    gibibytes = re.fullmatch(r"(\d+)Gi", container["resources"]["limits"]["memory"])
    assert memory.needed(load_service_settings(file).engine) <= int(gibibytes[1]) << 30


def test_probes_ask_what_the_service_answers(objects):
    for pod in pods(objects):
        container = pod["spec"]["containers"][0]
        assert container["ports"][0] == {"name": "http", "containerPort": 9108, "protocol": "TCP"}
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
        startup, liveness = container["startupProbe"], container["livenessProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 10 * 60
        assert liveness["periodSeconds"] * liveness["failureThreshold"] >= BEAT_SECONDS
        assert pod["spec"]["terminationGracePeriodSeconds"] >= 60


# --- what the values do ---


def test_one_process_scores_and_it_alone_keeps_something():
    objects = rendered(ALL["scaled"])
    score, normalize = one(objects, "StatefulSet"), one(objects, "Deployment")
    assert score["spec"]["replicas"] == 1
    assert score["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert score["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert score["spec"]["serviceName"] == one(objects, "Service", "-score")["metadata"]["name"]
    assert [
        volume for volume in normalize["spec"]["template"]["spec"]["volumes"] if "persistentVolumeClaim" in volume
    ] == []
    with pytest.raises(helm_python.HelmError, match="maximum: got 2, want 1"):
        rendered(merged(ALL["scaled"], {"score": {"replicas": 2}}))


def test_keda_alone_sets_the_number_of_replicas():
    objects = rendered(ALL["scaled"])
    scaled = one(objects, "ScaledObject")
    target = one(objects, "Deployment")
    assert scaled["spec"]["scaleTargetRef"]["name"] == target["metadata"]["name"]
    assert "replicas" not in target["spec"]
    triggers = [each["metadata"] for each in scaled["spec"]["triggers"]]
    assert [each["topic"] for each in triggers] == ["zeek", "flows"]
    assert {each["consumerGroup"] for each in triggers} == {"eastwest"}
    assert {each["lagThreshold"] for each in triggers} == {"50000"}
    without = rendered(merged(ALL["scaled"], {"normalize": {"keda": {"enabled": False}}}))
    assert one(without, "Deployment")["spec"]["replicas"] == 2
    with pytest.raises(helm_python.HelmError, match="name the topics"):
        rendered(merged(ALL["scaled"], {"config": {"kafka": {"topics": [{"pattern": "flows.*"}]}}}))


def test_the_name_in_the_group_is_the_pods_where_it_is_asked_for():
    def variables(values):
        return {
            each["name"]: each
            for each in one(rendered(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
        }

    assert "EASTWEST_KAFKA__GROUP_INSTANCE_ID" not in variables(ALL["scaled"])
    named = variables(merged(ALL["scaled"], {"normalize": {"staticMembership": True}}))
    assert named["EASTWEST_KAFKA__GROUP_INSTANCE_ID"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_other_settings_are_other_pods_and_other_numbers_are_not():
    def sums(values):
        return [pod["metadata"]["annotations"]["checksum/config"] for pod in pods(rendered(values))]

    before = sums(ALL["scaled"])
    assert sums(merged(ALL["scaled"], {"config": {"log": {"level": "debug"}}})) != before
    assert sums(merged(ALL["scaled"], {"plant": "zones: []\n"})) != before
    assert sums(merged(ALL["scaled"], {"normalize": {"keda": {"maxReplicas": 20}}})) == before


def test_a_settings_file_names_only_secrets_that_are_mounted():
    pod = one(rendered(ALL["single"]), "StatefulSet")["spec"]["template"]["spec"]
    secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
    assert secrets["secret-kafka"] == {"secretName": "eastwest-kafka", "defaultMode": 0o440}
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["secret-siem"] == {"name": "secret-siem", "mountPath": "/etc/eastwest-secrets/siem", "readOnly": True}
    values = example("single")
    del values["secrets"]["siem"]
    with pytest.raises(helm_python.HelmError, match=r"secrets\.siem is not there"):
        rendered(values)


def test_data_is_on_a_volume_or_a_claim_that_exists_or_goes_with_the_pod():
    def volumes(persistence):
        stateful = one(rendered(smallest(score={"persistence": persistence})), "StatefulSet")
        return stateful["spec"].get("volumeClaimTemplates"), [
            each for each in stateful["spec"]["template"]["spec"]["volumes"] if each["name"] == "data"]  # fmt: skip

    claims, data = volumes({"size": "1Gi"})
    assert claims[0]["spec"]["resources"] == {"requests": {"storage": "1Gi"}}
    assert data == []
    assert volumes({"existingClaim": "mine"}) == (
        None,
        [{"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}],
    )
    assert volumes({"enabled": False}) == (None, [{"name": "data", "emptyDir": {}}])


def test_who_may_ask_for_metrics_is_said():
    policy = one(rendered(smallest()), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"][0]["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert {"podSelector": {}} in policy["ingress"][0]["from"]
    assert one(rendered(smallest(networkPolicy={"ingressFrom": []})), "NetworkPolicy")["spec"]["ingress"] == []
    closed_in = one(rendered(ALL["scaled"]), "NetworkPolicy")["spec"]
    assert closed_in["policyTypes"] == ["Ingress", "Egress"]
    assert closed_in["egress"][0]["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert len(closed_in["egress"]) == 3


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [("single", "PodMonitor", "podMetricsEndpoints"), ("scaled", "ServiceMonitor", "endpoints")],
)
def test_prometheus_finds_each_process_once_and_under_one_job(name, kind, place):
    objects = rendered(ALL[name])
    monitor = one(objects, kind)["spec"]
    assert monitor["jobLabel"] == "app.kubernetes.io/instance"
    assert monitor[place][0]["port"] == "http"
    labels = monitor["selector"]["matchLabels"]
    if kind == "ServiceMonitor":
        (service,) = (
            each
            for each in objects
            if each["kind"] == "Service" and each["metadata"]["labels"].items() >= labels.items()
        )
        assert service["spec"]["publishNotReadyAddresses"] is True
        labels = service["spec"]["selector"]
    for pod in pods(objects):
        assert pod["metadata"]["labels"].items() >= labels.items()


def test_rules_are_those_of_the_file_but_for_what_is_left_out():
    file = yaml.safe_load((CHART / "rules" / "eastwest.yaml").read_text("utf-8"))["groups"]
    assert one(rendered(ALL["single"]), "PrometheusRule")["spec"]["groups"] == file
    groups = one(rendered(ALL["everything"]), "PrometheusRule")["spec"]["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"]]
    assert names == [rule["alert"] for group in file for rule in group["rules"] if rule["alert"] != "EastwestDrift"] + [
        "Mine"
    ]
    assert groups[0]["rules"][0]["annotations"]["runbook_url"] == "https://wiki.example/eastwest#eastwestabsent"


def test_the_dashboard_is_that_of_the_file():
    config = one(rendered(ALL["single"]), "ConfigMap", "-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["eastwest.json"]) == json.loads(
        (CHART / "dashboards" / "eastwest.json").read_text("utf-8")
    )


def test_objects_of_ones_own_may_be_templates():
    names = [each["metadata"]["name"] for each in rendered(ALL["everything"]) if each["kind"] == "Secret"]
    assert names == [f"{RELEASE}-mine", "other"]


def test_notes_say_what_to_do_and_what_is_missing():
    said = notes(smallest())
    assert "rollout status statefulset/soc-eastwest-score" in said
    for warning in ("log of the container only", "unencrypted", "Nobody watches it", "One pod scores"):
        assert warning in said
    assert "Nobody is told" in notes(smallest(config={"alerts": {"sinks": []}}))
    assert "all that was learned" in notes(smallest(score={"persistence": {"enabled": False}}))
    assert "nothing is scored" in notes(smallest(score={"replicas": 0}))
    assert "is no bucket" in notes(smallest(normalize={"enabled": True}))
    assert "!" not in notes(ALL["scaled"])


# --- one version to another ---


@pytest.mark.parametrize("name", ["single", "scaled"])
def test_an_upgrade_and_the_way_back_change_nothing_that_cannot_be_changed(name):
    """Kubernetes refuses other selectors, service names and claims; a rollback renders what was before."""
    first = rendered(ALL[name])
    change = {"image": {"tag": "0.2.0"}, "config": {"log": {"level": "debug"}}}
    upgraded = rendered(merged(ALL[name], change), is_install=False, is_upgrade=True, revision=2)
    assert {fixed(each) for each in first} == {fixed(each) for each in upgraded}
    assert [each["spec"]["template"] for each in upgraded if each["kind"] == "StatefulSet"] != [
        each["spec"]["template"] for each in first if each["kind"] == "StatefulSet"]  # fmt: skip
    assert rendered(ALL[name], is_install=False, is_upgrade=True, revision=3) == first


def fixed(each):
    """What of an object may not change from one revision to the next, as text."""
    spec = each.get("spec", {})
    kept = {"kind": each["kind"], "name": each["metadata"]["name"]}
    if each["kind"] == "StatefulSet":
        kept |= {name: spec[name] for name in ("selector", "serviceName", "volumeClaimTemplates")}
    if each["kind"] == "Deployment":
        kept |= {"selector": spec["selector"]}
    if each["kind"] == "Service":
        kept |= {"clusterIP": spec.get("clusterIP")}
    return json.dumps(kept, sort_keys=True)
