"""One write's way to the EHR: read back when its outcome is unknown, send, and say what came of it.

Not here: what all carriers do alike (`carrier`), claiming and settling (`lanes`), and how many go at once (`deliver`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from glp1_pipeline.adapters.ehr import Ehr, EhrFailure
from glp1_pipeline.adapters.ehr.entries import Entry, entry_of
from glp1_pipeline.adapters.store import TROUBLES
from glp1_pipeline.domain.outbox import Found, is_theirs_too, judge, keys_of, opens_breaker, with_contents, without

from .carrier import ROUNDS, Carrier, OpenBody, StoreAway, Tried, of_store
from .lanes import Claimed, heard_bodies, note_places


@dataclass(frozen=True)
class Heard:
    """An EHR whose changes are listened to: `hear` makes one durable in the ledger before it returns, and gets what
    of ours was changed."""

    ehr: Ehr
    hear: Callable[[Entry, dict[str, Any]], Any]


class Courier(Carrier):
    """Carries claimed writes to one EHR. Threads share it."""

    def __init__(
        self,
        peer: Ehr | Heard,
        connect: Callable[[], Connection[Any]],
        target: str,
        open_body: OpenBody,
        send_before: float,
    ) -> None:
        super().__init__(connect, target, open_body, send_before)
        self.ehr, self._hear = (peer.ehr, peer.hear) if isinstance(peer, Heard) else (peer, None)

    def keys(self, content: Mapping[str, Any]) -> list[str]:
        return [entry["request"]["url"] for entry in content.get("entry", ())]

    def unpack(self, claimed: list[Claimed]) -> list[Tried]:
        """Open the bodies, and ask in one call which of the resources to be created are there already.

        Not every server heeds `ifNoneMatch: *` in a transaction, and after a restore of our database from a backup it
        may hold more than we know.
        """
        failed = super().unpack(claimed)
        hopeless = {tried.claimed.write_id for tried in failed}
        new: dict[str, Claimed] = {}
        for one in claimed:
            if one.write_id in hopeless or one.was != "ready":
                continue
            try:
                new |= dict.fromkeys(_sample_of_new(one), one)
            except Exception as error:  # noqa: BLE001 - a body of the wrong shape must not stop the others
                failed.append(self._failed_here(Tried(one), error))
        try:
            for key in self.ehr.existing(list(new), self._ends(claimed[0])):
                new[key].is_known_there = True
        except EhrFailure as failure:
            if failure.trouble == "rejected":  # because of one of them: each asks for itself, and fails for itself
                for one in new.values():
                    one.is_known_there = True
                return failed
            if opens_breaker(failure.trouble):
                self._is_told_off.set()
            unreadable = {f.claimed.write_id for f in failed}
            rest = [one for one in claimed if one.write_id not in unreadable]
            failed += [
                Tried(one, 0.0, failure.status, failure.trouble, retry_after=failure.retry_after, is_echo=i > 0)
                for i, one in enumerate(rest)
            ]
        return failed

    def _carry(self, one: Claimed, tried: Tried) -> None:
        ends = self._ends(one)
        bundle, resources = one.content, keys_of(one.content)
        known = dict(one.remote)
        places: dict[str, list[str]] = {}
        conflicts: dict[str, str] = {}
        todo: list[str] = list(resources)
        shared: dict[str, list[str]] = {}
        must_look = one.was == "in_doubt" or one.is_known_there or any(self._is_theirs_too(one, k) for k in resources)
        for _ in range(ROUNDS):
            if must_look:
                found = self.ehr.look(resources, known, ends)
                moved = [key for key, there in found.items() if there and there.version != known.get(key, ("", ""))[1]]
                heard = self._heard(one, moved, ends)
                atomic = self.ehr.is_atomic(one.content)
                verdict = judge(
                    resources, known, found, lambda: self._last_sent(one),
                    is_atomic=atomic, held=one.decided(None), insisted=one.decided("ours"), over=one.over,
                    heard=heard, may_merge=self._hear is not None,
                )  # fmt: skip
                tried.seen = {key: there.version for key, there in found.items() if there is not None}
                tried.seen |= {key: "" for key in verdict.merged if key in verdict.done}
                tried.http_status = 200
                for key, ours in verdict.unheard.items():
                    self._listen(found[key], ours)
                # Never into `known`: at their version it would be ours to write over.
                conflicts, places = dict(verdict.conflicts), verdict.places
                known |= verdict.done | {key: place for key, place in verdict.send.items() if place}
                if not atomic or verdict.landed:
                    tried.remote |= verdict.done
                if verdict.landed:
                    tried.trouble = None
                    break
                todo = list(verdict.send)
                bundle = with_contents(without(one.content, conflicts), verdict.merged)
                if shared := {key: verdict.send.get(key) or verdict.done[key] for key in verdict.merged}:
                    self._note_shared(one, shared)
            tried.was_sent = True
            sent = self.ehr.send(bundle, known | places, todo, ends)
            left = {key: [*place, *shared.get(key, ())[2:]] for key, place in sent.remote.items()}
            tried.remote |= left
            known |= left
            tried.trouble, tried.http_status, tried.retry_after = sent.trouble, sent.status, sent.retry_after
            if sent.trouble != "moved":
                break
            must_look = True
        if tried.trouble is None:  # with the mark or not at all, or the next write would take their version as ours
            tried.conflicts = conflicts
            tried.remote |= places

    def _is_theirs_too(self, one: Claimed, key: str) -> bool:
        return key in one.conflicts or key in one.heard or is_theirs_too(one.remote.get(key, []))

    def _heard(self, one: Claimed, keys: Collection[str], ends: float) -> dict[str, dict[str, Any] | None]:
        """Of those where somebody else's word is: what stood there when we last knew, as the ledger heard it, or as the
        EHR has it in its history; None where nobody tells."""
        heard: dict[str, dict[str, Any] | None] = dict.fromkeys(key for key in keys if key in one.heard)
        if heard:
            try:
                with self.connect() as connection:
                    rows = heard_bodies(connection, [one.heard[key]["event"] for key in heard])
            except TROUBLES as error:
                raise of_store(error, "what was heard") from None
            told = {event: self._open_at(f"events|{event}", kid, body)["data"] for event, kid, body in rows}
            heard = {key: told.get(one.heard[key]["event"], {}).get("resource") for key in heard}
        shared = (key for key in keys if key not in heard and is_theirs_too(one.remote.get(key, [])))
        return heard | {
            key: self.ehr.version(key.partition("/")[0], one.remote[key][0], one.remote[key][1], ends) for key in shared
        }

    def _listen(self, there: Found | None, ours: dict[str, Any]) -> None:
        """Let the ledger hear what somebody changed, before anything of it is written over or counted as ours."""
        if there is None or there.resource is None or self._hear is None:
            return
        try:
            self._hear(entry_of(there.resource), ours)
        except TROUBLES as error:
            raise of_store(error, "the ledger") from None

    def _note_shared(self, one: Claimed, shared: Mapping[str, list[str]]) -> None:
        """Before what was made of both is sent: found there after a kill, it is no word of theirs."""
        try:
            with self.connect() as connection:
                if not note_places(connection, self.target, one, shared):
                    raise StoreAway("a lane that another holds")
        except TROUBLES as error:
            raise of_store(error, "what is shared") from None

    def _last_sent(self, one: Claimed) -> dict[str, list[dict[str, Any]]]:
        """What we last sent of each resource, and since then perhaps: writes that died may have landed all the same."""
        last: dict[str, list[dict[str, Any]]] = {}
        complete: set[str] = set()
        for status, content in self._earlier(one):
            for key, resource in keys_of(content).items():
                if key not in complete:
                    last.setdefault(key, []).append(resource)
                    if status == "delivered" and key not in one.conflicts:  # else it may have been left out of that one
                        complete.add(key)
        return last


def _sample_of_new(one: Claimed) -> list[str]:
    """Keys whose presence in the EHR would tell that it knows more than we do.

    Of a patient never delivered, the first is enough: a first write lands whole or not at all.
    """
    new = [key for key in keys_of(one.content) if key not in one.remote and not key.startswith("Provenance/")]
    if one.remote:
        return new
    return sorted(new, key=lambda key: not key.startswith("Patient/"))[:1]
