"""What a drill works with: feed, break, wait until it is noticed, heal, wait until all is settled.

Not here: what a drill is (`drill`), and who feeds (`producer`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from glp1_pipeline.adapters import alerts
from glp1_pipeline.adapters.alerts import Channels, World
from glp1_pipeline.adapters.balance import on_the_way
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.domain.alerts import Book, Incident

from .ending import DrillFailed, NotRun
from .looping import LOOPS
from .producer import Producer
from .programs import wait_until
from .proof import Proof, prove
from .proxy import FaultProxy
from .thresholds import impatient

DETECT_SECONDS, SETTLE_SECONDS = 20.0, 60.0


@dataclass
class Scene(Producer):
    """One drill under way. Instants are seconds of the monotonic clock."""

    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    broken_at: float | None = None
    healed_at: float | None = None
    detection_seconds: float | None = None
    detected_by: str = ""
    recovery_seconds: float | None = None
    is_raised: bool = False
    is_resolved: bool = False
    _logs: dict[str, int] = field(default_factory=dict)
    _broken_instant: datetime | None = None

    # ---- what it works with

    @property
    def proxy(self) -> FaultProxy:
        """Between the pipeline and the EHR."""
        if self.site.proxy is None:
            raise NotRun("there is no proxy before this EHR")
        return self.site.proxy

    def connect(self) -> psycopg.Connection:
        """To the pipeline's database, in autocommit."""
        return self.site.connect()

    def rows(self, statement: Any, *values: Any) -> list[tuple]:
        with self.connect() as connection:
            return connection.execute(statement, values or None).fetchall()

    def one(self, statement: Any, *values: Any) -> Any:
        """The only column of the only row."""
        ((found,),) = self.rows(statement, *values)
        return found

    @cached_property
    def book(self) -> Book:
        """The alert rules with a minute of a fifth of a second."""
        return impatient(self.home / "contracts")

    # ---- breaking, noticing, healing, settling

    def break_(self, what: str, action: Callable[[], object] = lambda: None) -> None:
        """Do it, and mark the instant."""
        self.step(f"broke: {what}")
        self._logs = {name: self.site.size_of_log(name) for name in LOOPS}
        self.broken_at, self._broken_instant = time.monotonic(), datetime.now(UTC)
        action()

    def heal(self, what: str, action: Callable[[], object] = lambda: None) -> None:
        """Do it, and mark the instant: recovery counts from here. Not called: it heals by itself, from the break on."""
        self.step(f"healed: {what}")
        action()
        self.healed_at = time.monotonic()

    def until_detected(self, sign: Callable[[], str | None] | None = None, seconds: float = DETECT_SECONDS) -> float:
        """Until the drill's alert is an open incident; for a drill without one until `sign` says what showed it (the
        first failed try or rejected line, unless told). Seconds from the break; DrillFailed when it never comes."""
        assert self.broken_at is not None, "break_ first"
        ask = sign or (self._incident if self.alert else self.first_trouble)
        while True:
            try:
                found = ask()
            except (psycopg.OperationalError, ConnectionError):
                found = None  # the database itself may be what is broken
            took = time.monotonic() - self.broken_at
            if found:
                self.detection_seconds, self.detected_by = round(took, 2), found
                self.step(f"detected after {took:.1f} s: {found}")
                return took
            if took > seconds:
                raise DrillFailed(f"nothing noticed it within {seconds:.0f} s")
            time.sleep(0.1)

    def nothing_to_notice(self, why: str) -> None:
        """Said in place of `until_detected` where all must go on as if nothing were."""
        self.detected_by = f"nothing to notice: {why}"
        self.step(self.detected_by)

    def _incident(self) -> str | None:
        with self.connect() as connection:
            found = self.look(connection)
        for one in found:
            if one.alert == self.alert and one.resolved_at is None:
                self.is_raised = True
                return f"alert {one.alert}" + (f" ({one.scope})" if one.scope else "")
        return None

    def look(self, connection: psycopg.Connection) -> list[Incident]:
        """One look at everything that is watched, by the real rules; incidents since the drill began."""
        landing = Path(self.settings.landing_url)
        alerts.look(connection, self.book, World(landing, {}, self.settings.ui_base_url()))
        if self.settings.alert_urls:
            alerts.send(connection, Channels.from_settings(self.settings), deadline=5.0)
        return [one for one in alerts.history(connection, timedelta(days=1)) if one.detected_at >= self.began_at]

    def first_trouble(self) -> str | None:
        """The first failed try or rejected line since the break, by its class."""
        since = self._broken_instant
        for outcome, status in self.rows(
            "select outcome, http_status from ops.deliveries where at >= %s and outcome <> 'delivered'"
            " order by at limit 1",
            since,
        ):
            return f"try: {outcome}" + (f", HTTP {status}" if status else ", no answer")
        for (reason,) in self.rows(
            "select coalesce(reason, status) from phi.events where status in ('rejected', 'dead')"
            " and coalesce(settled_at, received_at) >= %s limit 1",
            since,
        ):
            return f"rejected: {reason}"
        return None

    def until(self, is_so: Callable[[], object], seconds: float = DETECT_SECONDS, after: float = 0.0) -> None:
        """Until it is so, asked for the first time `after` seconds; DrillFailed when it never is."""
        time.sleep(after)
        wait_until(is_so, seconds, "what the drill waits for does not come")

    def store_is_away(self) -> str | None:
        """What `glp1 alerts check` says from cron while Postgres does not answer."""
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return "the store does not answer: `glp1 alerts check` fails"
        return None

    def failed_turn(self) -> str | None:
        """The first turn of a loop since the break that failed, by the name of its error: in service, a failed run."""
        for name, size in self._logs.items():
            for line in self.site.log_of(name).read_bytes()[size:].splitlines():
                if line.startswith(b"a turn failed: "):
                    return f"failed run: {name}, {line.decode().removeprefix('a turn failed: ')}"
        return None

    def until_settled(self, seconds: float = SETTLE_SECONDS) -> float:
        """Until nothing is on its way, and the alert (if there is one) has ended by itself. Seconds from healing."""
        since = self.healed_at or self.broken_at
        assert since is not None, "break_ first"
        settled_at = None
        while True:
            try:
                if settled_at is None and self._is_settled():
                    settled_at = time.monotonic()
                    self.recovery_seconds = round(settled_at - since, 2)
                if settled_at is not None and self._has_ended():
                    break
            except (psycopg.OperationalError, ConnectionError):
                pass  # not back yet: asked again until the time is over
            if time.monotonic() - since > seconds:
                left = "the alert is open still" if settled_at else f"not settled: {self.left()}"
                raise DrillFailed(f"{left} after {seconds:.0f} s")
            time.sleep(0.1)
        took = settled_at - since
        self.step(f"settled after {took:.1f} s")
        return took

    def left(self) -> dict[str, int]:
        """What is on its way, in counts."""
        with self.connect() as connection:
            left = on_the_way(connection)
        given_up = self.rows("select count(*) from ops.writes where status = 'dead'")[0][0]
        files = 1 if self.landing.ready(limit=1) else 0
        return left | {name: n for name, n in (("changes given up", given_up), ("files", files)) if n}

    def _is_settled(self) -> bool:
        known = {(str(a), str(b)) for a, b in self.rows("select source, source_id from phi.events")}
        return self.charted <= known and not self.left()

    def _has_ended(self) -> bool:
        if not self.alert:
            return True
        with self.connect() as connection:
            open_ = [i for i in self.look(connection) if i.alert == self.alert and i.resolved_at is None]
        self.is_resolved = self.is_raised and not open_
        return not open_

    # ---- proving

    @cached_property
    def proof(self) -> Proof:
        """Asked once, at the end: our ledger, the EHR beside the proxy and the CRM, read back."""
        ehr = Ehr(EhrSettings(self.site.ehr_url, **self.settings.ehr_credentials()))
        try:
            with self.connect() as connection:
                return prove(connection, ehr, self.settings.crm_access(), self.cipher, self.charted, self.n_lines)
        finally:
            ehr.close()

    def lost(self) -> int:
        return self.proof.n_lost

    def doubled(self) -> int:
        return self.proof.n_doubled

    # ---- hands

    def restart_loops(self, env: Mapping[str, str] | None = None) -> None:
        """As after a deployment: settings and secrets are read anew; `env` changes GLP1_* variables."""
        self.site.stop_loops()
        if env:
            self.site.env |= env
            self.site.settings = Settings.from_env(self.site.env)
        self.site.start_loops()

    def kill(self, name: str) -> None:
        """SIGKILL to a program of the site and its children; it is started again by `site.start_...` alone."""
        self.site.stop(name, signal.SIGKILL)
