"""The site's logins, from the settings `upstream.credentials`: for all users, or for those that are listed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from wavelet import plain_files
from wavelet.config import Apply, Credential, Settings
from wavelet.image.reference import DOCKER_HUB, Repository
from wavelet.plan.identity import Identity, Login
from wavelet.upstream.auth_files import HUB_KEY, normal_key, prefixes
from wavelet.upstream.credential_source import NOTHING, Granted, Offer, OfferedLogin
from wavelet.upstream.helpers import HelperError, Helpers
from wavelet.upstream.read_auth_files import SIZE_LIMIT


class SiteCredentials:
    """The site's logins of one sort; of several for a repository, the one with the longest match counts."""

    personal = False

    def __init__(self, settings: Settings, helpers: Helpers, *, listed: bool) -> None:
        """With `listed`, those for users that are listed, which open what they open for the asking one alone."""
        self._helpers = helpers
        self._listed = listed
        self._credentials: Sequence[Credential] = ()
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: which logins there are."""

        def apply() -> None:
            self._credentials = settings.upstream.credentials

        return apply

    async def logins(self, repository: Repository, identity: Identity) -> Offer:
        """See `CredentialSource`."""
        fitting = (each for each in self._credentials if self._is_for(each, identity))
        chosen = _longest(fitting, repository)
        if chosen is None:
            return NOTHING
        try:
            login = await self._login(chosen, repository)
        except HelperError as error:
            return Offer(problems=(str(error),))
        except (OSError, UnicodeDecodeError) as error:
            why = "it is not text" if isinstance(error, UnicodeDecodeError) else error.strerror or "it cannot be read"
            return Offer(problems=(f"the site's password_file for {chosen.registry}: {why}",))
        if login is None:
            return NOTHING
        by = f"site login for {repository.host}" + (f", for uid {identity.uid}" if self._listed else "")
        return Offer((OfferedLogin(login, Granted(public=not self._listed, by=by)),))

    async def version(self, identity: Identity) -> str:
        """Return an empty text: these are no identity's own."""
        del identity
        return ""

    def _is_for(self, credential: Credential, identity: Identity) -> bool:
        return identity.uid in credential.users if self._listed else not credential.users

    async def _login(self, credential: Credential, repository: Repository) -> Login | None:
        if credential.helper:
            server = HUB_KEY if repository.host == DOCKER_HUB else repository.host
            return await self._helpers.ask(credential.helper, server)
        secret = await asyncio.to_thread(_secret_in, Path(credential.password_file))
        return Login(credential.username, secret.strip())


def _longest(credentials: Iterable[Credential], repository: Repository) -> Credential | None:
    by_key = {normal_key(credential.registry): credential for credential in credentials}
    return next((by_key[key] for key in prefixes(repository) if key in by_key), None)


def _secret_in(path: Path) -> str:
    """Return the text of a file that holds a password. Blocks, but never waits for somebody to write one."""
    return plain_files.read(path, SIZE_LIMIT, follow=True)[0].decode()
