"""The bill of materials: package URLs, the graph, and that the same packages give the same document."""

from __future__ import annotations

import json

from locked import entry, locks, part

from wavelet.kinds.conda.compose import sbom
from wavelet.kinds.conda.model.packages import Package, Wheel

PACKAGE = Package.of("https://c.test/lab/linux-64/Tool-1!1.0-h0_0.conda", "ab" * 32, None, None)
OLD = Package.of("https://c.test/lab/noarch/zlib-1.2-0.tar.bz2", "cd" * 32, None, None)
WHEEL = Wheel("https://files.test/My_Tool-1.0%2Blocal-py3-none-any.whl", "ef" * 32)
NEEDED = Wheel("https://files.test/typing_extensions-4-py3-none-any.whl", "01" * 32)


def document() -> dict[str, object]:
    tool = part(
        PACKAGE,
        index={"depends": ["zlib >=1", "__glibc >=2"]},
        about={"license": "MIT AND GPL-2.0", "home": "https://t.test"},
    )
    requires = {"requires_dist": ["typing-extensions (>=4) ; python_version < '4'", "pytest ; extra == 'test'"]}
    wheels = [part(WHEEL, index=requires), part(NEEDED)]
    found: dict[str, object] = json.loads(sbom.document(sbom.components([tool, part(OLD)], wheels)))
    return found


def test_package_urls() -> None:
    assert sbom.purl_of(part(PACKAGE)) == (
        "pkg:conda/Tool@1%211.0?build=h0_0&channel=https://c.test/lab&subdir=linux-64&type=conda"
    )
    assert sbom.purl_of(part(OLD)).endswith("&subdir=noarch&type=tar.bz2")
    assert sbom.purl_of(part(WHEEL)).startswith("pkg:pypi/my-tool@1.0%2Blocal?file_name=My_Tool-1.0%2Blocal-py3")


def test_what_it_says() -> None:
    found = document()
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    tool = next(c for c in found["components"] if c["name"] == "Tool")  # type: ignore[attr-defined]
    assert tool["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert tool["licenses"] == [{"license": {"name": "MIT AND GPL-2.0"}}]
    assert {r["type"] for r in tool["externalReferences"]} == {"distribution", "website"}
    graph = {each["ref"]: each["dependsOn"] for each in found["dependencies"]}  # type: ignore[attr-defined]
    assert graph[tool["purl"]] == [sbom.purl_of(part(OLD))]
    assert graph[sbom.purl_of(part(WHEEL))] == [sbom.purl_of(part(NEEDED))]
    assert graph.keys() == {c["bom-ref"] for c in found["components"]}  # type: ignore[attr-defined]


def test_the_same_packages_give_the_same_document() -> None:
    components = [sbom.Component(name, "1", f"pkg:x/{name}", "00") for name in "ab"]
    assert sbom.document(components) == sbom.document(reversed(components))
    numbers = {json.loads(sbom.document(each))["serialNumber"] for each in (components, components[:1])}
    assert len(numbers) == 2
    assert all(number.startswith("urn:uuid:") for number in numbers)


def test_a_real_environment() -> None:
    packages = [part(package, index=info.index) for package, info in map(entry, locks()["vuegen.linux-64"])]
    found = json.loads(sbom.document(sbom.components(packages, [])))
    assert len({c["purl"] for c in found["components"]}) == 343
    assert sum(len(each["dependsOn"]) for each in found["dependencies"]) > 343
