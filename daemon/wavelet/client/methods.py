"""The methods that both clients have: one for each call of the protos, named after it.

Their parameters and what they do stand in `wavelet.client.requests`, what they return in the protos.
"""

from __future__ import annotations

from wavelet.client import requests
from wavelet.client.method import Many, One
from wavelet.v1 import cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2, packs_pb2, rules_pb2


class Methods:
    """All calls."""

    resolve = One(requests.resolve, "ContainerService/Resolve", containers_pb2.ResolveResponse)
    watch = Many(requests.watch, "ContainerService/Watch", containers_pb2.WatchResponse)

    describe = One(requests.describe, "TokenService/Describe", containers_pb2.DescribeResponse)
    evict_token = One(requests.evict_token, "TokenService/Evict", containers_pb2.EvictResponse)
    log = One(requests.log, "TokenService/Log", containers_pb2.LogResponse)
    list_requests = One(requests.list_requests, "TokenService/ListRequests", containers_pb2.ListRequestsResponse)

    inspect = One(requests.inspect, "ImageService/Inspect", images_pb2.InspectResponse)
    prefetch = Many(requests.prefetch, "ImageService/Prefetch", images_pb2.PrefetchResponse)
    mirror = Many(requests.mirror, "ImageService/Mirror", images_pb2.MirrorResponse)

    solve = One(requests.solve, "CondaService/Solve", conda_pb2.SolveResponse)
    lock = One(requests.lock, "CondaService/Lock", conda_pb2.LockResponse)

    list_rules = One(requests.list_rules, "RulesService/ListRules", rules_pb2.ListRulesResponse)
    explain_rules = One(requests.explain_rules, "RulesService/ExplainRules", rules_pb2.ExplainRulesResponse)

    list_packs = One(requests.list_packs, "PackService/ListPacks", packs_pb2.ListPacksResponse)
    get_pack = One(requests.get_pack, "PackService/GetPack", packs_pb2.GetPackResponse)

    cache_list = Many(requests.cache_list, "CacheService/List", cache_pb2.ListResponse)
    cache_stats = One(requests.cache_stats, "CacheService/Stats", cache_pb2.StatsResponse)
    pin = One(requests.pin, "CacheService/Pin", cache_pb2.PinResponse)
    unpin = One(requests.unpin, "CacheService/Unpin", cache_pb2.UnpinResponse)
    collect = One(requests.collect, "CacheService/Collect", cache_pb2.CollectResponse)

    status = One(requests.status, "DaemonService/Status", daemon_pb2.StatusResponse)
    settings = One(requests.settings, "DaemonService/Settings", daemon_pb2.SettingsResponse)
    reload = One(requests.reload, "DaemonService/Reload", daemon_pb2.ReloadResponse)

    login = One(requests.login, "LoginService/Login", daemon_pb2.LoginResponse)
    logout = One(requests.logout, "LoginService/Logout", daemon_pb2.LogoutResponse)
    logins = One(requests.logins, "LoginService/ListLogins", daemon_pb2.ListLoginsResponse)


BROKEN_OFF = "the daemon has ended the stream before the container was ready; ask again"
