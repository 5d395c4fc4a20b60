"""`wavelet setup kubernetes`: manifests whose init container is a command of this very wavelet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from wavelet.cli.main import main
from wavelet.config import load

AT = ("--authority", "127.0.0.1:9191")
IMAGE = ("--image", "registry.site.example/wavelet:1")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    assert main(["setup", "kubernetes", *AT, *IMAGE, *arguments]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert all({"apiVersion", "kind", "metadata"} <= each.keys() for each in documents)
    return {each["kind"]: each for each in documents}


def pod_of(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the pod of the DaemonSet, whose mounts are volumes and whose labels are those that it selects."""
    daemon_set = manifests["DaemonSet"]["spec"]
    assert daemon_set["template"]["metadata"]["labels"] == daemon_set["selector"]["matchLabels"]
    pod: dict[str, Any] = daemon_set["template"]["spec"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(volumes) == len(set(volumes))
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["image"] == IMAGE[1]
        assert {mount["name"] for mount in container.get("volumeMounts", ())} <= set(volumes)
    return pod


def run_on_node(pod: dict[str, Any], node: Path) -> None:
    """Run the init container's command where its mount is a directory of the test's."""
    (container,) = pod["initContainers"]
    (mount,) = container["volumeMounts"]
    (volume,) = (each for each in pod["volumes"] if each["name"] == mount["name"])
    assert mount["mountPath"] == f"/host{volume['hostPath']['path']}"
    (node / volume["hostPath"]["path"].lstrip("/")).mkdir(parents=True, exist_ok=True)
    arguments = [str(node) if each == "/host" else each for each in container["args"]]
    assert main(arguments) == 0


def test_every_node_is_set_up_and_taken_back_by_the_command_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "etc/containerd/certs.d/quay.io/hosts.toml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('server = "https://quay.io"\n')
    pod = pod_of(printed(capsys, "--registry", "docker.io", "--registry", "quay.io"))
    run_on_node(pod, tmp_path)
    hosts = {path.parent.name: path.read_text() for path in theirs.parents[1].rglob("hosts.toml")}
    assert hosts.keys() == {"docker.io", "quay.io"}
    assert all('[host."http://127.0.0.1:9191"]' in text for text in hosts.values())
    capsys.readouterr()
    run_on_node(pod_of(printed(capsys, "--undo")), tmp_path)
    assert [path.read_text() for path in theirs.parents[1].rglob("hosts.toml")] == ['server = "https://quay.io"\n']


def test_the_daemon_listens_where_the_nodes_containerd_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifests = printed(capsys)
    assert main(["setup", "kubernetes", *AT]) == 0
    assert "  config.yaml: |\n    listen: 0.0.0.0:9191\n" in capsys.readouterr().out
    assert set(manifests) == {"Namespace", "ConfigMap", "DaemonSet", "PersistentVolumeClaim"}
    pod = pod_of(manifests)
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    (daemon,) = pod["containers"]
    assert daemon["ports"] == [{"containerPort": 9191, "hostPort": 9191, "protocol": "TCP"}]
    assert daemon["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 9191}
    (tmp_path / "config.yaml").write_text(manifests["ConfigMap"]["data"]["config.yaml"])
    settings = load(tmp_path / "config.yaml", {}, {})
    assert (settings.name_authority, settings.listen) == ("127.0.0.1:9191", "0.0.0.0:9191")


def test_they_can_be_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wavelet.yaml"
    assert main(["setup", "kubernetes", *AT, "--file", str(file)]) == 0
    assert capsys.readouterr() == (f"{file}\n", "")
    assert file.read_text().startswith("# kubectl apply -f FILE")
