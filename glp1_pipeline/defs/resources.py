"""What assets and sensors reach the world with: one resource, `road`, opened once a run and warm between runs.

Here: settings, contract, cipher, landing zone, connections. Not here: what is done with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from .. import contracts
from ..adapters import ledger, store
from ..adapters.alive import Alive
from ..adapters.cipher import Cipher, KeyRing
from ..adapters.crm import Crm, CrmSettings
from ..adapters.ehr import Ehr, EhrSettings
from ..adapters.landing import Folder, landing_zone
from ..adapters.settings import Settings
from ..adapters.store import Store, StoreGone
from ..contracts import ContractError
from ..domain.contract import Contract
from ..domain.failures import is_ours

KEYS = "keys.json"


class Shown(dg.DagsterError):
    """Why a run or a tick cannot go on, for the UI: what any other class says is masked there, and this is kept."""


class _Away(Shown, StoreGone):
    """For whoever waits until the store is back, the same as without a UI."""


def _shown(error: Exception) -> Shown:
    if isinstance(error, ContractError):  # places alone: a fault may quote a spelling, which is a patient's word
        return Shown(
            f"the contract cannot be used: {', '.join(error.places)}. `glp1 dictionary` says what is wrong there and"
            " how to mend it; then all goes on by itself, and nothing is lost. "
        )
    return (_Away if isinstance(error, StoreGone) else Shown)(f"{error} ")


def connect(settings: Settings, name: str) -> Store:
    """A connection to our own store, in autocommit: every piece of work opens its own transaction."""
    return store.connect(settings.store_url(), name)


def key_ring(settings: Settings) -> KeyRing:
    return KeyRing.load(settings.home / "secrets" / KEYS)


@lru_cache(maxsize=4)
def _contract(signature: tuple) -> Contract:
    return contracts.load()


def contract() -> Contract:
    """The contract as it lies on disk now: read again only when one of its files changed."""
    files = sorted(p for p in Path(contracts.__file__).parent.rglob("*") if p.suffix in (".yaml", ".csv"))
    return _contract(tuple((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in files))


@lru_cache(maxsize=1)
def _parts(settings: Settings) -> tuple[Cipher, Folder]:
    cipher = Cipher(key_ring(settings))
    archive = settings.home / "archive" if settings.keeps_drops else None
    return cipher, landing_zone(settings.landing_url, archive, cipher)


@lru_cache(maxsize=1)
def _ehr(settings: Settings) -> Ehr:
    # A killed run's patients wait for three of these: on this machine an answer that late will never come.
    patience = 30.0 if settings.ehr_url else 10.0
    return Ehr(
        EhrSettings(
            settings.ehr_base_url(),
            **settings.ehr_credentials(),
            read_timeout=patience,
            max_conditional_entries=contract().writes["ehr_chart"].max_conditional_entries,
        )
    )


@lru_cache(maxsize=1)
def _crm(settings: Settings) -> Crm:
    url, token = settings.crm_access()
    return Crm(CrmSettings(url, token, read_timeout=30.0 if settings.crm_url else 10.0))


class Road(dg.ConfigurableResource):
    """Our store, the landing zone, the EHR, the CRM and the contract. Set up by GLP1_* variables, which the UI never
    shows."""

    _run_id: str = PrivateAttr(default="")
    _is_dagsters: bool = PrivateAttr(default=False)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Road]:
        self._is_dagsters = True
        if context.run is None:
            yield self
            return
        self._run_id = context.run.run_id
        # Held as long as this run lives: whoever finds it free knows that the run is dead (see `recovery`).
        with Alive(lambda: self.connect("glp1 run"), context.run.run_id):
            yield self

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """In a run or a tick: an error of a class of ours, whose text says what to do, is shown by the UI."""
        try:
            yield
        except Exception as error:
            if not self._is_dagsters or not is_ours(error) or isinstance(error, Shown):
                raise
            raise _shown(error) from None

    @property
    def settings(self) -> Settings:
        with self.in_words():
            return Settings.from_env()

    @property
    def contract(self) -> Contract:
        with self.in_words():
            return contract()

    @property
    def cipher(self) -> Cipher:
        with self.in_words():
            return _parts(self.settings)[0]

    @property
    def landing(self) -> Folder:
        with self.in_words():
            return _parts(self.settings)[1]

    @property
    def ehr(self) -> Ehr:
        with self.in_words():
            return _ehr(self.settings)

    @property
    def crm(self) -> Crm:
        with self.in_words():
            return _crm(self.settings)

    def append(self, connection: Store, documents: list[bytes]) -> int:
        """Bring events that were noticed elsewhere into the ledger, in the connection's transaction if it is in one."""
        return ledger.append(connection, self.contract, self.cipher, documents)

    def connect(self, name: str = "glp1") -> Store:
        with self.in_words():
            return self._of_this_run(connect(self.settings, name))

    @contextmanager
    def keep(self, name: str) -> Iterator[Store]:
        """`connect`, for what runs do again and again."""
        with self.in_words(), store.kept(self.settings.store_url(), name) as found:
            yield self._of_this_run(found)

    def _of_this_run(self, found: Store) -> Store:
        """What is written by it says so: a rollback can ask for all that a run made or delivered."""
        if self._run_id:
            found.execute("select set_config('glp1.run_id', %s, false)", (self._run_id,))
        return found
