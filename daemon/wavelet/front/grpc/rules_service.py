"""The servicer of `RulesService`: the rules in force, and what they would make of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from wavelet.errors import AccessRefused, InvalidRequest
from wavelet.front.grpc.answers import engine_needs, timestamp
from wavelet.front.grpc.names import Names
from wavelet.front.grpc.peer import Context, Peer, Peers
from wavelet.front.grpc.services import Services
from wavelet.front.grpc.values import check_name_alone, submission
from wavelet.front.reading.submission import Submission
from wavelet.front.registry.names import TokenName
from wavelet.front.registry.plans import plan_of
from wavelet.plan.canonical import encode
from wavelet.plan.node import title
from wavelet.plan.tokens import Identity
from wavelet.rules.described import action, condition
from wavelet.rules.model import Asking, Door
from wavelet.v1 import rules_pb2 as pb
from wavelet.v1.rules_pb2_grpc import RulesServiceServicer

ADVICE = (
    "it binds where the image is pulled by a name that begins with this daemon's address; an engine that only asks here"
    " first (`wavelet setup`) goes on to the registry by itself where it is refused, and this is advice to it"
)


class RulesOfSite(RulesServiceServicer):
    """Tells of rules."""

    def __init__(self, services: Services, names: Names, peers: Peers) -> None:
        self._services = services
        self._names = names
        self._peers = peers

    async def ListRules(self, _request: pb.ListRulesRequest, context: Context) -> pb.ListRulesResponse:
        """Return the rules in force."""
        self._peers.of(context)
        rules = self._services.site_rules.current
        return pb.ListRulesResponse(
            rules=[
                pb.RuleSummary(name=each.name, place=each.place, when=condition(each.when), does=action(each.do))
                for each in rules.rules
            ],
            directory=rules.directory,
            read_time=timestamp(rules.read_at),
            problems=rules.problems,
        )

    async def ExplainRules(self, request: pb.ExplainRulesRequest, context: Context) -> pb.ExplainRulesResponse:
        """Return what the rules would make of a request."""
        peer = self._peers.of(context)
        asked, asking = self._read(request, self._identity(request, peer))
        outcome, refusal = await self._services.plans.explain(asked.plan, asking, asked.packs)
        effects = [
            pb.RuleEffect(rule=each.rule.name, place=each.rule.place, image=each.image, effect=each.text)
            for each in outcome.effects
        ]
        return pb.ExplainRulesResponse(
            effects=effects,
            asked_plan=encode(asked.plan).decode(),
            effective_plan="" if refusal else encode(outcome.plan).decode(),
            refusal=refusal,
            advice=ADVICE if asking.is_named and (refusal or outcome.applied) else "",
            needs=engine_needs(outcome.packs),
        )

    def _identity(self, request: pb.ExplainRulesRequest, peer: Peer) -> Identity:
        if not request.HasField("uid") or request.uid == peer.identity.uid:
            return peer.identity
        if not (peer.admin or self._services.rules.may_see_all(peer.identity)):
            raise AccessRefused("uid: only root, and the daemon's own user, may ask what holds for others", field="uid")
        return replace(peer.identity, uid=request.uid)

    def _read(self, request: pb.ExplainRulesRequest, identity: Identity) -> tuple[Submission, Asking]:
        """Return what is asked about, and who asks for it, and how."""
        wanted = request.request
        if request.door and request.door not in get_args(Door):
            raise InvalidRequest(f"door: {request.door[:40]!r} is not one of {', '.join(get_args(Door))}", field="door")
        if wanted.WhichOneof("source") != "name":
            door: Door = request.door or "wave"  # type: ignore[assignment]  # it was looked at above
            asked = submission(wanted, self._services.site())
            return asked, asked.asking(door, identity)
        check_name_alone(wanted)
        named = self._names.read(wanted.name, "name")
        if isinstance(named.name, TokenName):
            raise InvalidRequest("name: the rules were applied to this request before it had its name", field="name")
        plan = plan_of(named.name, named.reference, self._services.site())
        asked = Submission(plan, title(plan), {}, dry_run=True, labels=dict(wanted.labels), has_platform=False)
        door = request.door or "registry"  # type: ignore[assignment]
        return asked, asked.asking(door, identity, "near-cache" if plan.named is not None else "conda")
