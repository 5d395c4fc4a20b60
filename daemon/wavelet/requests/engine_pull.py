"""Images on into a container engine of this node: it is told, by its API, to pull them from this daemon.

The SDK blocks, so each pull is a thread; one whose caller has gone away ends when its engine says the next thing, and
holds up nobody until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavelet.errors import EngineFailed, InvalidDigest, NotServed, WaveletError
from wavelet.image.reference import Digest
from wavelet.requests.engine_address import TCP, UNIX, Engine, chosen_address, parse_address
from wavelet.requests.transfer_tasks import TransferStatus, run_all

if TYPE_CHECKING:
    from docker import APIClient

PULL_LIMIT = 3600.0
"""Seconds for one image."""

ANSWER_LIMIT = 30
"""Seconds for the engine's other answers."""

_PODMAN_PULL = "/v4.0.0/libpod/images/pull"
_DIGEST = "Digest: "


def address_of(engine: Engine, address: str = "") -> str:
    """Return where an engine is (see `parse_address`): at `address`, or at its usual place.

    The usual one is what the daemon's own environment chooses, if it does. Blocking.

    Raises:
        InvalidRequest: the address is not one of an engine of this node.
        NotServed: there is no socket.
    """
    found = parse_address("engineAddress", address) or chosen_address(engine, os.environ)
    if found.startswith(TCP):
        return found
    places = [Path(found.removeprefix(UNIX))] if found else _usual(engine)
    for place in places:
        if place.is_socket():
            return f"{UNIX}{place}"
    looked = " or ".join(map(str, places))
    message = (
        f"there is no {engine} here: no socket at {looked}; start its service, or name its socket (engineAddress, "
        "--engine-socket unix:///path/of/the.sock)"
    )
    raise NotServed(message, field="engineAddress")


def _usual(engine: Engine) -> list[Path]:
    if engine == "docker":
        return [Path("/var/run/docker.sock")]
    own = os.environ.get("XDG_RUNTIME_DIR")
    return [*([Path(own) / "podman/podman.sock"] if own else []), Path("/run/podman/podman.sock")]


def into_engine(
    names: Sequence[str], engine: Engine, address: str, *, concurrency: int, platform: str = ""
) -> AsyncGenerator[TransferStatus, None]:
    """Have an engine pull images, and yield how far they are: each at its start, as it goes, and at its end.

    One that fails stops no other: its error is `EngineFailed`, with the engine's own words. Close it at the end.

    Args:
        names: with this daemon's authority, as engines pull them.
        engine: which kind it is.
        address: where its API is; see `address_of`.
        concurrency: images at one time.
        platform: to choose from an index; the engine's own if it is empty.
    """
    images = [_Image(index, name, engine, address, platform) for index, name in enumerate(names)]
    return run_all(images, concurrency)


@dataclass(slots=True)
class _Image:
    """One pull. The thread sets `digest` and `parts` (bytes done and in all, by layer); the loop only reads them."""

    index: int
    name: str
    engine: Engine
    address: str
    platform: str
    digest: Digest | None = None
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)
    done: bool = False
    error: WaveletError | None = None

    def now(self) -> TransferStatus:
        """See `TransferTask`."""
        parts = list(self.parts.values())
        sizes = sum(done for done, _ in parts), sum(total for _, total in parts)
        return TransferStatus(self.index, *sizes, self.digest, self.done, self.error)

    async def transfer(self) -> None:
        """See `TransferTask`."""
        stopping = threading.Event()
        try:
            async with asyncio.timeout(PULL_LIMIT):
                await _in_thread(lambda: self._pull(stopping.is_set))
        except TimeoutError:
            raise EngineFailed(f"{self.engine} has not pulled {self.name} within {PULL_LIMIT:.0f} s") from None
        finally:
            stopping.set()

    def _pull(self, stopping: Callable[[], bool]) -> None:
        # Only who fills an engine pays for the SDK, which takes longer to be imported than a daemon to start.
        from docker import APIClient  # noqa: PLC0415
        from docker.errors import DockerException  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        class Direct(APIClient):
            """Asks without the environment's proxies and netrc: none stands before an engine of this node."""

            trust_env = property(lambda _: False, lambda _, __: None)

        self._knock()
        try:
            client = Direct(self.address, version="auto", timeout=ANSWER_LIMIT)
            with contextlib.closing(client), contextlib.closing(self._saying(client)) as said:
                self._follow(said, stopping)
                if self.digest is None and not stopping():
                    self.digest = _repo_digest(client.inspect_image(self.name))  # type: ignore[no-untyped-call]
        except (DockerException, RequestException) as error:
            words = getattr(error, "explanation", None) or str(error)
            raise EngineFailed(f"{self.engine} does not pull {self.name}: {_shown(words)}") from None

    def _saying(self, client: APIClient) -> Generator[Mapping[str, Any], None, None]:
        """Begin a pull; yield what the engine says of it."""
        if self.engine == "podman":
            yield from self._podman_saying(client)
            return
        # An empty login: whatever the daemon's own user has configured is not for this.
        platform = self.platform or None
        said = client.pull(self.name, stream=True, decode=True, auth_config={}, platform=platform)
        with contextlib.closing(said):
            yield from said

    def _podman_saying(self, client: APIClient) -> Generator[Mapping[str, Any], None, None]:
        # Of its two APIs only its own one pulls from a registry without TLS that its configuration does not name.
        system, _, architecture = self.platform.partition("/")
        architecture, _, variant = architecture.partition("/")
        asked = {"reference": self.name, "policy": "always", "OS": system, "Arch": architecture, "Variant": variant}
        asked["tlsVerify"] = "false" if _is_loopback(self.name) else ""
        given = {name: value for name, value in asked.items() if value}
        with client.post(f"{client.base_url}{_PODMAN_PULL}", params=given, stream=True, timeout=None) as answer:
            for line in answer.iter_lines():
                event = json.loads(line) if line else {}
                yield event if answer.ok else {"error": event.get("cause") or event.get("message") or answer.reason}

    def _knock(self) -> None:
        # The SDK's own words for a socket that nobody listens on are a chain of exceptions.
        try:
            with contextlib.closing(self._connected()):
                pass
        except OSError as error:
            why = error.strerror or "no answer"
            shown = self.address.removeprefix(UNIX)
            raise EngineFailed(f"{self.engine} does not answer at {shown}: {why}") from None

    def _connected(self) -> socket.socket:
        if self.address.startswith(TCP):
            host, _, port = self.address.removeprefix(TCP).rpartition(":")
            return socket.create_connection((host.strip("[]"), int(port)), ANSWER_LIMIT)
        door = socket.socket(socket.AF_UNIX)
        door.settimeout(ANSWER_LIMIT)
        try:
            door.connect(self.address.removeprefix(UNIX))
        except BaseException:
            door.close()
            raise
        return door

    def _follow(self, said: Iterator[Mapping[str, Any]], stopping: Callable[[], bool]) -> None:
        for event in said:
            if stopping():
                return
            if "error" in event:
                raise EngineFailed(f"{self.engine} does not pull {self.name}: {_shown(event['error'])}")
            self._take_note(str(event.get("id", "")), str(event.get("status", "")), event.get("progressDetail") or {})

    def _take_note(self, part: str, status: str, progress: Mapping[str, Any]) -> None:
        total = int(progress.get("total") or 0)
        if status.startswith(_DIGEST):
            with contextlib.suppress(InvalidDigest):
                self.digest = Digest.parse(status.removeprefix(_DIGEST).strip())
        elif status == "Downloading" and total > 0:
            self.parts[part] = min(int(progress.get("current") or 0), total), total
        elif status in ("Download complete", "Pull complete") and part in self.parts:
            self.parts[part] = self.parts[part][1], self.parts[part][1]


async def _in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread of its own, which keeps neither a pool's place nor the process if its caller goes away."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        failure: BaseException | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whoever waits is the one to hear of it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=run, name="engine pull", daemon=True).start()
    await ended


def _is_loopback(name: str) -> bool:
    host = name.partition("/")[0].rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _repo_digest(image: Mapping[str, Any]) -> Digest | None:
    for name in image.get("RepoDigests") or ():
        with contextlib.suppress(InvalidDigest):
            return Digest.parse(str(name).rpartition("@")[2])
    return None


def _shown(words: object) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return " ".join(text.split())[:2000]
