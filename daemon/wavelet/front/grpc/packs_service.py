"""The servicer of `PackService`: the packs of this node."""

from __future__ import annotations

from wavelet.errors import InvalidRequest, NotFound
from wavelet.front.grpc.answers import config_of
from wavelet.front.grpc.names import Names
from wavelet.front.grpc.peer import Context
from wavelet.front.grpc.services import Services
from wavelet.front.packs.routes import url_of
from wavelet.packs.catalogue import ListedPack
from wavelet.packs.model import PackRefused
from wavelet.v1 import packs_pb2 as pb
from wavelet.v1.packs_pb2_grpc import PackServiceServicer


class PackServicer(PackServiceServicer):
    """Tells of packs."""

    def __init__(self, services: Services, names: Names) -> None:
        self._packs = services.packs
        self._authority = names.authority

    async def ListPacks(self, _request: pb.ListPacksRequest, _context: Context) -> pb.ListPacksResponse:
        """Return all packs."""
        await self._packs.settled()
        return pb.ListPacksResponse(packs=[self._message(each) for each in self._packs.listing()])

    async def GetPack(self, request: pb.GetPackRequest, _context: Context) -> pb.GetPackResponse:
        """Return one pack."""
        name, at, version = request.reference.partition("@")
        if not name or (at and not version):
            message = "reference: is missing; it is NAME, or NAME@VERSION" if not name else "reference: has no version"
            raise InvalidRequest(message, field="reference")
        await self._packs.settled([name])
        try:
            pack = self._packs.get(name, version or None)
        except PackRefused as error:
            raise NotFound(error.message, field="reference") from None
        listed = next(each for each in self._packs.listing() if each.pack == pack)
        return pb.GetPackResponse(pack=self._message(listed))

    def _message(self, each: ListedPack) -> pb.Pack:
        message = pb.Pack(name=each.name, directory=each.directory, problem=each.problem, shipped=each.shipped)
        message.unused = each.unused
        if (pack := each.pack) is not None:
            message.version = pack.version
            message.architectures.extend(sorted(pack.architectures))
            message.config.CopyFrom(config_of(pack.config))
            message.needs.devices.extend(pack.needs.devices)
            message.needs.capabilities.extend(pack.needs.capabilities)
            message.url = url_of(pack, self._authority)
        return message
