"""What the daemon says of processes: whether what each is made of is there for a platform, and if not, for another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from wavelet.cli.arch_report.processes import Process
from wavelet.cli.image_lists import image_of
from wavelet.cli.input_files import token_in
from wavelet.client import Client, WaveletRpcError
from wavelet.kinds.other_architecture import without_remedy
from wavelet.v1.containers_pb2 import Packages, ResolveRequest

AT_ONCE = 4
"""Processes that are asked about at one time: a solve keeps a CPU busy."""

State = Literal["there", "missing", "failing", "unknown", "none"]
"""It is there for the platform; for the other one only; for neither; nobody can tell now; there is nothing to ask."""

_OWN = ("conda/", "wt/", "frozen/")
"""How names of a daemon begin, behind its authority, that are no registry's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out for a process: `asked` is what it is made of, `reason` why that is not there, in a sentence."""

    process: Process
    state: State
    asked: str
    reason: str = ""


class Questions:
    """Asks about processes for a `platform`, and where something is missing for the `other` one."""

    def __init__(self, client: Client, platform: str, other: str) -> None:
        self._client = client
        self._platform = platform
        self._other = other
        self._authority = client.status().authority

    def verdicts(self, processes: Iterable[Process]) -> Iterator[Verdict]:
        """Yield what came out for each, in their order; those that are made of the same are asked about once.

        Raises:
            WaveletRpcError: the daemon has gone.
        """
        wanted: dict[tuple[str, str], list[Process]] = {}
        for process in processes:
            wanted.setdefault((process.container, process.environment), []).append(process)
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            for same, found in zip(
                wanted.values(), pool.map(self._of, [each[0] for each in wanted.values()]), strict=True
            ):
                yield from (Verdict(process, found.state, found.asked, found.reason) for process in same)
        finally:
            # What still runs ends with the client, whose calls it is.
            pool.shutdown(wait=False, cancel_futures=True)

    def _of(self, process: Process) -> Verdict:
        if not process.environment and not process.container:
            return Verdict(process, "none", "")
        if not process.environment and not image_of(process.container):
            return Verdict(process, "unknown", process.container, "it is a file, or of a store that is no registry")
        asked = process.file or process.container
        try:
            request = self._request(process)
        except WaveletRpcError as error:
            return Verdict(process, "unknown", asked, _sentence(error))
        asked = process.file or _title(request) or process.container
        lack = self._lack(request, self._platform)
        if lack is None:
            return Verdict(process, "there", asked)
        if lack.fault != "caller":
            return Verdict(process, "unknown", asked, _sentence(lack))
        state: State = "missing" if self._lack(request, self._other) is None else "failing"
        return Verdict(process, state, asked, _sentence(lack))

    def _request(self, process: Process) -> ResolveRequest:
        """Return what a process is made of: of a name of this daemon's, what was asked for by it."""
        if process.environment:
            return ResolveRequest(packages=Packages(environment=process.environment))
        image = image_of(process.container)
        bare = image.removeprefix(f"{self._authority}/")
        token = token_in(image)
        if bare != image and bare.startswith("conda/"):
            token = self._client.resolve(name=bare, dry_run=True, wait=0.0).token
        if token != image:
            try:
                return self._client.describe(token).request
            except WaveletRpcError:
                if image.partition("/")[2].startswith(_OWN):
                    raise
        return ResolveRequest(container_image=image)

    def _lack(self, request: ResolveRequest, platform: str) -> WaveletRpcError | None:
        """Return why what is asked for is not there for a platform; None: it is."""
        images = [request.container_image] if request.container_image else []
        try:
            for image in (*images, *request.container_includes):
                self._client.inspect(image, platform=platform)
            if request.HasField("packages"):
                self._client.solve(request.packages, platform=platform)
        except WaveletRpcError as error:
            return error
        return None


def _title(request: ResolveRequest) -> str:
    return request.container_image or " ".join(request.packages.entries)


def _sentence(error: WaveletRpcError) -> str:
    """Return an error without its explanation, and without what to do: the report ends with that, for all."""
    first = without_remedy(error.message.partition("\n")[0].partition("; the solver says:")[0])
    match error.reason:
        case "IMAGE_NOT_FOUND":
            return first.partition(". ")[0]
        case "UNSOLVABLE":  # channels and specs are no news; what is behind them is
            return first.partition(" satisfies ")[2].partition("; ")[2] or first
    return first
