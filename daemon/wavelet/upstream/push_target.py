"""A repository that is pushed to: its registry, asked with the login that it takes pushes with."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.errors import AccessRefused, WaveletError
from wavelet.image.reference import Repository
from wavelet.upstream.auth import LoginError
from wavelet.upstream.fallback import PushLogin
from wavelet.upstream.push_answers import Refusal, error_of
from wavelet.upstream.session import Call, RegistrySession
from wavelet.upstream.streams import Answer, server_words
from wavelet.upstream.transport import server_of


@dataclass(frozen=True, slots=True)
class PushTarget:
    """The repository, the session with its registry, and the login."""

    repository: Repository
    session: RegistrySession
    login: PushLogin

    @property
    def host(self) -> str:
        """The registry, as it is named in messages."""
        return self.login.endpoint.host

    async def send(self, call: Call) -> Answer:
        """Ask once.

        Raises:
            AccessRefused: the token server refuses the login now.
            UpstreamError: see `RegistrySession.send`.
        """
        login = self.login.offered
        try:
            return await self.session.send_once(self.login.endpoint, self.repository.path, call, login.login)
        except LoginError as error:
            raise AccessRefused(
                f"{self.host} refuses a push to {self.repository} (asked as: {login.granted.by}): {error}"
            ) from None

    async def refusal(self, answer: Answer) -> Refusal:
        """Read an answer that is no success, and close it."""
        words = await server_words(answer)
        answer.close()
        return Refusal(server_of(answer.response.url), answer.status, words.code, words.text)

    def error_of(self, refusal: Refusal, what: str, size: int) -> WaveletError:
        """Return what is said of a refusal of `what`, which has `size` bytes."""
        return error_of(refusal, self.repository, what, size, self.login.offered.granted.by)

    async def error(self, answer: Answer, what: str, size: int) -> WaveletError:
        """Return what is said of an answer that is no success, and close it."""
        return self.error_of(await self.refusal(answer), what, size)
