"""The settings: one YAML file and its drop-ins, each key with its default and meaning; the environment overrides both.

A key `a.b` is `WAVELET_A_B` in the environment. `settings` has the values (`section` and `conda` are parts of it),
`source` reads them, `checks` has the rules, `keys` the names, `changes` what differs, `configurable` what services
promise, `show` what can be shown. The room lies below all others.
"""

from wavelet.config.conda import Conda
from wavelet.config.configurable import Apply, Configurable
from wavelet.config.keys import ENV_PREFIX
from wavelet.config.settings import Alias, Credential, Freeze, Grpc, GrpcTls, Registry, Settings, Sif, Tls
from wavelet.config.show import settings_yaml
from wavelet.config.source import Source, load
from wavelet.config.values import HIGHEST_UID, ConfigError, is_loopback, join_address, parse_size, split_address

__all__ = [
    "ENV_PREFIX",
    "HIGHEST_UID",
    "Alias",
    "Apply",
    "Conda",
    "ConfigError",
    "Configurable",
    "Credential",
    "Freeze",
    "Grpc",
    "GrpcTls",
    "Registry",
    "Settings",
    "Sif",
    "Source",
    "Tls",
    "is_loopback",
    "join_address",
    "load",
    "parse_size",
    "settings_yaml",
    "split_address",
]
