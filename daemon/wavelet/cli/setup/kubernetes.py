"""Kubernetes: manifests with wavelet on every node, and what writes each node's hosts.toml files before it.

They are printed, not applied. An init container runs `wavelet setup containerd` on the node's own directory, so that a
node is set up by the same code as any other machine; `--undo` prints what takes that back on every node.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wavelet.cli.on_demand import yaml
from wavelet.cli.setup import files
from wavelet.cli.setup.containerd import CONFIG
from wavelet.cli.setup.plan import Asked, Change, Plan
from wavelet.cli.setup.verify import Pull, test_image
from wavelet.cli.shipped_files import shipped_directory
from wavelet.image.reference import DOCKER_HUB

OF_NODE = True
SUMMARY = "print manifests for Kubernetes: wavelet on every node, asked first by its containerd"

SOURCE = "kubernetes-daemonset.yaml"
"""The manifests without interception, that `wavelet config nextflow` prints."""

_HOST = "/host"
_WAITS = "import signal; signal.sigwait([signal.SIGTERM])"
_UNDONE = "wavelet-undo"
_DIRECTORY = str(CONFIG.parent)
_MOUNT = {"name": "containerd", "mountPath": f"{_HOST}{_DIRECTORY}"}
_VOLUME = {"name": "containerd", "hostPath": {"path": _DIRECTORY, "type": "DirectoryOrCreate"}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare its own arguments."""
    parser.add_argument("--image", metavar="NAME", help="wavelet's image (`make image`), where the nodes can pull it")
    parser.add_argument("--file", metavar="FILE", type=Path, help="write the manifests there, instead of printing them")


def plan(asked: Asked) -> Plan:
    """Plan the manifests."""
    documents = [_changed(each, asked) for each in _shipped()]
    name = test_image(asked.registries[0] if asked.registries[0] != "_default" else DOCKER_HUB)
    head = (
        "# kubectl apply -f FILE; kubectl -n wavelet rollout status daemonset/wavelet\n"
        "# What a node's containerd lacks is in: kubectl -n wavelet logs daemonset/wavelet -c intercept\n"
        f"# Whether a node asks wavelet, there: crictl pull {name}\n"
        "# To take it back: wavelet setup kubernetes --undo\n"
    )
    return _written(head, documents, asked)


def undo(asked: Asked) -> Plan:
    """Plan the manifests that take it back on every node."""
    (daemon_set,) = (each for each in _shipped() if each["kind"] == "DaemonSet")
    image = asked.image or daemon_set["spec"]["template"]["spec"]["containers"][0]["image"]
    labels = {"app": _UNDONE}
    pod = {
        "hostNetwork": True,
        "tolerations": [{"operator": "Exists"}],
        "initContainers": [_setup(image, "undo", ["--undo"])],
        "containers": [{"name": "done", "image": image, "command": ["python", "-c", _WAITS]}],
        "volumes": [_VOLUME],
    }
    made = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": _UNDONE, "namespace": daemon_set["metadata"]["namespace"]},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
    head = (
        "# kubectl -n wavelet delete daemonset wavelet; kubectl apply -f FILE\n"
        f"# kubectl -n wavelet rollout status daemonset/{_UNDONE}, and then: kubectl delete namespace wavelet\n"
        "# A node that misses it asks a port at which nobody listens, and then the registry.\n"
    )
    return _written(head, [made], asked)


def apply(asked: Asked, plan: Plan) -> Iterable[str]:
    """Do nothing: the manifests say how they are applied."""
    return ()


def pulls(asked: Asked, plan: Plan) -> Sequence[Pull]:
    """Return nothing: it is each node that is to be tried."""
    return ()


def _written(head: str, documents: Iterable[Mapping[str, Any]], asked: Asked) -> Plan:
    text = head + _dumped(documents)
    if asked.file is None:
        return Plan(output=text)
    return Plan((Change(asked.file, files.read(asked.file), text),))


def _dumped(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return YAML in which texts of several lines stand as lines."""

    class Dumper(yaml.SafeDumper):
        pass

    def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, represent)
    return str(yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, explicit_start=True, width=120))


def _shipped() -> list[dict[str, Any]]:
    text = (shipped_directory("nextflow-config") / SOURCE).read_text("utf-8")
    return list(yaml.safe_load_all(text))


def _changed(document: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """Return a manifest with what interception takes; the node's network, as its containerd asks at 127.0.0.1."""
    if document["kind"] == "ConfigMap":
        settings = yaml.safe_load(document["data"]["config.yaml"]) | {
            "listen": f"0.0.0.0:{_port(asked)}",
            "authority": asked.authority,
        }
        return document | {"data": {"config.yaml": yaml.safe_dump(settings, sort_keys=False)}}
    if document["kind"] != "DaemonSet":
        return document
    pod = document["spec"]["template"]["spec"]
    (daemon,) = pod["containers"]
    daemon["image"] = asked.image or daemon["image"]
    daemon["ports"] = [{"containerPort": _port(asked), "hostPort": _port(asked), "protocol": "TCP"}]
    for probe in ("readinessProbe", "livenessProbe"):
        daemon[probe]["httpGet"]["port"] = _port(asked)
    registries = [word for host in asked.registries for word in ("--registry", host)]
    pod["hostNetwork"] = True
    pod["dnsPolicy"] = "ClusterFirstWithHostNet"
    pod["initContainers"] = [_setup(daemon["image"], "intercept", ["--authority", asked.authority, *registries])]
    pod["volumes"].append(_VOLUME)
    return document


def _setup(image: str, name: str, arguments: list[str]) -> dict[str, Any]:
    """Return a container that sets the node's containerd up. It is root there, with one directory of the node's."""
    return {
        "name": name,
        "image": image,
        "args": ["setup", "containerd", "--system", "--root", _HOST, *arguments],
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "volumeMounts": [_MOUNT],
    }


def _port(asked: Asked) -> int:
    return int(asked.authority.rpartition(":")[2])
