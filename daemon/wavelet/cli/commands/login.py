"""`wavelet login`: hand a registry login to the daemon, which keeps it in memory for this user, for a while.

A secret comes from a prompt, standard input, or what this user's container engines have; it is never an argument, which
everybody on the machine could read.
"""

from __future__ import annotations

import argparse
import getpass
import sys

from wavelet.cli import daemon_call
from wavelet.cli.argument_types import duration
from wavelet.cli.output import emit, plain, table
from wavelet.cli.user_login import user_login
from wavelet.client import Client
from wavelet.errors import InvalidRequest
from wavelet.plan.tokens import Login

FLAGS = {"registry": "REGISTRY", "username": "--username", "lifetime": "--lifetime", "secret": "--password-stdin"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("registry", metavar="REGISTRY", nargs="?", default="", help="its host, or host/path")
    parser.add_argument(
        "-u", "--username", metavar="NAME", help="the user (without it: what your engines are logged in with)"
    )
    parser.add_argument("--password-stdin", action="store_true", help="read the password from stdin, instead of asking")
    parser.add_argument("--lifetime", metavar="TIME", type=duration, help="for how long it is kept (12h; 7d at most)")
    parser.add_argument("--unchecked", action="store_true", help="do not ask the registry whether it takes the login")
    parser.add_argument("--list", action="store_true", help="list your logins, without secrets")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Hand over a login, or list them.

    Raises:
        InvalidRequest: the arguments do not say which login.
        AccessRefused: the user has none for the registry.
    """
    if options.list:
        return daemon_call.call(options, lambda client: _list(client, options), FLAGS)
    if not options.registry:
        raise InvalidRequest("REGISTRY: is missing; it is the host to log in to, e.g. ghcr.io")
    login, source = _login(options)

    def act(client: Client) -> int:
        kept = client.login(
            options.registry, login.username, login.secret, lifetime=options.lifetime, unchecked=options.unchecked
        )
        nodes = "on all nodes" if kept.shared else "on this node"
        until = kept.expiration.ToJsonString()
        said = f"the login for {options.registry}{source} is kept {nodes} until {until}"
        emit(plain(kept) | {"registry": options.registry, "username": login.username}, options.output, [said])
        return daemon_call.DONE

    return daemon_call.call(options, act, FLAGS)


def _login(options: argparse.Namespace) -> tuple[Login, str]:
    """Return the login to hand over, and words for where it is from."""
    if options.username is None:
        if options.password_stdin:
            raise InvalidRequest("--password-stdin needs --username, the user whose password it is")
        login, file = user_login(options.registry)
        return login, f" of {file}"
    if options.password_stdin:
        secret = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        secret = getpass.getpass(f"Password of {options.username} at {options.registry}: ", sys.stderr)
    else:
        raise InvalidRequest("there is no terminal to ask for the password; pass it to --password-stdin")
    if not secret:
        raise InvalidRequest("the password is empty")
    return Login(options.username, secret), f" as {options.username}"


def _list(client: Client, options: argparse.Namespace) -> int:
    held = client.logins().logins
    rows = [(each.registry, each.username, each.expiration.ToJsonString()) for each in held]
    emit([plain(each) for each in held], options.output, table(("registry", "user", "until"), rows))
    return daemon_call.DONE
