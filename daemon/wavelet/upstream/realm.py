"""Token servers: which of them may be asked for a registry.

A registry says in its 401 where tokens are had (`realm`; distribution's token specification, RFC 6750). A bad one would
collect logins or make this machine ask its neighbours, so the realm has to belong to the registry.
"""

from __future__ import annotations

import functools

from publicsuffixlist import PublicSuffixList
from yarl import URL

from wavelet.upstream.addresses import is_loopback, literal

_TENANTS = ("amazonaws.com", "azurecr.io", "windows.net", "nip.io", "sslip.io")
"""Domains below which strangers have names, and which the public suffix list has not, or not wholly."""


def objection(registry: URL, realm: URL, *, with_login: bool) -> str | None:
    """Say why no token is asked for at `realm`, or None where it may be.

    With a login, the realm has to be of the registry's own host or domain. Without one, a realm elsewhere may be asked
    too (several registries are only a front for another's), if it is a named host and speaks https; the caller then
    keeps it to public addresses.
    """
    foreign = is_foreign(registry, realm)
    host = realm.host or ""
    local = is_loopback(host) or literal(host) is not None or "." not in host
    for applies, why in (
        (realm.scheme not in ("http", "https") or not host, "it is not an http address"),
        (realm.user is not None or realm.password is not None, "its address carries a login"),
        (registry.scheme == "https" and realm.scheme != "https", "it does not speak https, and the registry does"),
        (foreign and local, "it is a local or literal address other than the registry's own"),
        (foreign and (with_login or realm.scheme != "https"), "it belongs to another domain than the registry"),
    ):
        if applies:
            return why
    return None


def is_foreign(registry: URL, realm: URL) -> bool:
    """Tell whether the realm is another party's than the registry."""
    return not _same_party(registry, realm)


def _same_party(registry: URL, realm: URL) -> bool:
    first, second = registry.host or "", realm.host or ""
    if (first.lower(), registry.port) == (second.lower(), realm.port):
        return True
    if any(is_loopback(host) or literal(host) is not None for host in (first, second)):
        return False
    if first.lower() == second.lower():
        return True
    domain = registrable_domain(first)
    return domain is not None and domain == registrable_domain(second)


def registrable_domain(host: str) -> str | None:
    """Return the part of a host name that somebody registered, as `docker.io` of `auth.docker.io`; None if unclear."""
    name = host.lower().rstrip(".")
    domain = _public_suffixes().privatesuffix(name)
    return None if domain is None or any(f".{name}".endswith(f".{each}") for each in _TENANTS) else domain


@functools.cache
def _public_suffixes() -> PublicSuffixList:
    """Return the list that the library has with it; read at its first use, which takes some 25 ms.

    Names in it are Unicode, as `URL.host` has them.
    """
    return PublicSuffixList(accept_encoded_idn=False)
