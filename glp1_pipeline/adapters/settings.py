"""Where everything is: read from the environment when asked, never when imported.

Not here: how a variable is read (`variables`), what a sandbox remembers between two starts (`state`), and anything
about a patient.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict

from glp1_pipeline.adapters.keep import Keep, KeepError
from glp1_pipeline.adapters.secrets import Secrets
from glp1_pipeline.adapters.state import State
from glp1_pipeline.adapters.variables import (
    SettingsError,
    embedded_url,
    folder_or_url,
    hook,
    is_loopback,
    number,
    one_of,
    page,
    sources,
    with_scheme,
)

PREFIX = "GLP1_"
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Broker:
    """How runs reach the workers: what both Dagster's launcher and the Celery worker must be told alike."""

    url: str = field(repr=False)
    backend: str = field(repr=False)
    celery: dict[str, Any]
    """Settings of Celery that go with the address."""


EHR_CLIENT_KEY = "ehr_client_key"
"""The secret's name."""


class _Asked(dict[str, str]):
    """An environment without a variable, which notes those that it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


class EhrCredentials(TypedDict, total=False):
    """As `adapters.ehr.EhrSettings` takes them."""

    client_id: str
    client_secret: str
    client_key: str
    scope: str


@dataclass(frozen=True)
class Settings:
    """All that differs between two installations. Addresses may hold passwords, so they are kept out of `repr`."""

    home: Path
    database_url: str | None = field(default=None, repr=False)
    dagster_database_url: str | None = field(default=None, repr=False)
    metrics_database_url: str | None = field(default=None, repr=False)
    ehr_url: str | None = None
    ehr_client_id: str | None = None
    ehr_client_secret: str | None = field(default=None, repr=False)
    ehr_client_key: Path | None = None
    """A file with the private key; None: the one that `glp1 keys ehr` makes."""
    ehr_scope: str | None = None
    ehr_sandbox_auth: bool = False
    ehr_hints: bool = False
    ehr_hook_url: str | None = None
    crm_url: str | None = None
    crm_token: str | None = field(default=None, repr=False)
    crm_webhook_secret: str | None = field(default=None, repr=False)
    alert_urls: str | None = field(default=None, repr=False)
    alert_webhook_secret: str | None = field(default=None, repr=False)
    ui_url: str | None = None
    landing_url: str = field(default="", repr=False)
    drop_sources: tuple[str, ...] = ()
    """Other systems whose word a drop may bring: sources, or beginnings of sources, which end in a slash."""
    broker_url: str | None = field(default=None, repr=False)
    broker_result_url: str | None = field(default=None, repr=False)
    ui_port: int = 3000
    ui_port_is_asked_for: bool = False
    workers: int = 4
    """Runs at once: one of intake, a second for a backlog, one of delivery."""
    keeps_drops: bool = True
    """Keep each settled drop, sealed, in the folder `archive`; else it is deleted once the ledger has it."""
    keep: Keep = field(default_factory=Keep)
    """How many days what piles up is kept: GLP1_KEEP_..._DAYS."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        env = os.environ if env is None else env

        def text(name: str) -> str | None:
            return env.get(name, "").strip() or None

        home = Path(text("GLP1_HOME") or PROJECT / ".glp1").expanduser().absolute()
        database_url, dagster_url = text("GLP1_DATABASE_URL"), text("GLP1_DAGSTER_DATABASE_URL")
        if bool(database_url) != bool(dagster_url):
            given, missing = ("GLP1_DATABASE_URL", "GLP1_DAGSTER_DATABASE_URL")[:: 1 if database_url else -1]
            raise SettingsError(
                f"{given} is set and {missing} is not. Set both (two databases, the second for Dagster's own records), "
                "or neither to use the embedded Postgres."
            )
        client_id, client_secret = text("GLP1_EHR_CLIENT_ID"), text("GLP1_EHR_CLIENT_SECRET")
        client_key, scope = text("GLP1_EHR_CLIENT_KEY"), text("GLP1_EHR_SCOPE")
        if not client_id and (client_secret or client_key or scope):
            raise SettingsError("GLP1_EHR_CLIENT_SECRET, _CLIENT_KEY and _SCOPE need GLP1_EHR_CLIENT_ID: set it, too.")
        if client_secret and client_key:
            raise SettingsError("The EHR knows us by GLP1_EHR_CLIENT_SECRET or by GLP1_EHR_CLIENT_KEY: leave one out.")
        crm_url, crm_token = text("GLP1_CRM_URL"), text("GLP1_CRM_TOKEN")
        if bool(crm_url) != bool(crm_token):
            raise SettingsError("GLP1_CRM_URL and GLP1_CRM_TOKEN go together: set both, or neither for the sandbox.")
        broker_url, result_url = text("GLP1_BROKER_URL"), text("GLP1_BROKER_RESULT_URL")
        if broker_url and not broker_url.startswith(("redis://", "rediss://", "amqp://", "amqps://")):
            raise SettingsError(
                "GLP1_BROKER_URL must begin with redis:// or amqp:// (with TLS rediss:// or amqps://); leave it out for"
                " a folder on this machine."
            )
        if (result_url or "").startswith("rpc:"):
            raise SettingsError(
                "GLP1_BROKER_RESULT_URL=rpc:// tells how a run stands to its sender alone: Dagster would end"
                " each run that lasts as lost. Leave it out, or name what every process can read, such as redis://."
            )
        if broker_url and not result_url and broker_url.startswith(("redis://", "rediss://")):
            result_url = broker_url
        try:
            keep = Keep.from_env(env)
        except KeepError as error:
            raise SettingsError(str(error)) from None
        return cls(
            home=home,
            database_url=with_scheme(database_url, "postgresql", "GLP1_DATABASE_URL"),
            dagster_database_url=with_scheme(dagster_url, "postgresql+psycopg2", "GLP1_DAGSTER_DATABASE_URL"),
            metrics_database_url=with_scheme(
                text("GLP1_METRICS_DATABASE_URL"), "postgresql", "GLP1_METRICS_DATABASE_URL"
            ),
            ehr_url=(text("GLP1_EHR_URL") or "").rstrip("/") or None,
            ehr_client_id=client_id,
            ehr_client_secret=client_secret,
            ehr_client_key=Path(client_key).expanduser().absolute() if client_key else None,
            ehr_scope=scope,
            ehr_sandbox_auth=one_of(text("GLP1_EHR_SANDBOX_AUTH"), "GLP1_EHR_SANDBOX_AUTH", "smart", "none", False),
            ehr_hints=one_of(text("GLP1_EHR_HINTS"), "GLP1_EHR_HINTS", "1", "0", default=False),
            ehr_hook_url=hook(text("GLP1_EHR_HOOK_URL")),
            crm_url=(crm_url or "").rstrip("/") or None,
            crm_token=crm_token,
            crm_webhook_secret=text("GLP1_CRM_WEBHOOK_SECRET"),
            alert_urls=text("GLP1_ALERT_URLS"),
            alert_webhook_secret=text("GLP1_ALERT_WEBHOOK_SECRET"),
            ui_url=page((text("GLP1_UI_URL") or "").rstrip("/") or None),
            landing_url=folder_or_url(text("GLP1_LANDING_URL") or str(home / "landing")),
            drop_sources=sources(text("GLP1_DROP_SOURCES")),
            broker_url=broker_url,
            broker_result_url=result_url,
            ui_port=number(text("GLP1_UI_PORT"), "GLP1_UI_PORT", 3000, 1, 65535),
            ui_port_is_asked_for=text("GLP1_UI_PORT") is not None,
            workers=number(text("GLP1_WORKERS"), "GLP1_WORKERS", 4, 1, 64),
            keeps_drops=one_of(text("GLP1_KEEP_DROPS"), "GLP1_KEEP_DROPS", "yes", "no"),
            keep=keep,
        )

    @classmethod
    def refuse_misspelt(cls, env: Mapping[str, str] | None = None) -> None:
        """A variable that is nearly one of ours would be passed over in silence, and a sandbox stand where the EHR was
        meant. What only begins like ours may be another program's."""
        env = os.environ if env is None else env
        asked = _Asked()
        cls.from_env(asked)
        own = {name.removeprefix(PREFIX) for name in asked.names}
        told = {name.removeprefix(PREFIX) for name in env if name.startswith(PREFIX)}
        for name in sorted(told - own):
            if near := get_close_matches(name, own, 1, cutoff=0.85):
                raise SettingsError(
                    f"{PREFIX}{name} is no setting of ours. Did you mean {PREFIX}{near[0]}? Correct it, or unset it."
                )

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.home)

    @property
    def state(self) -> State:
        return State(self.home)

    def store_url(self) -> str:
        """The address of our own database, for psycopg 3 and SQLAlchemy alike."""
        return self.database_url or self._embedded_url("glp1", "postgresql")

    def dagster_url(self) -> str:
        """The address of Dagster's own database. SQLAlchemy 2.1 takes a plain `postgresql:` for psycopg 3, which
        dagster-postgres cannot use, so the driver is named."""
        return self.dagster_database_url or self._embedded_url("dagster", "postgresql+psycopg2")

    def metrics_url(self) -> str:
        """Our own database as the role knows it that counts the metrics: it reads no more than schema `ops`."""
        if self.database_url and not self.metrics_database_url:
            raise SettingsError(
                "The metrics are counted by a role of their own. Make a role glp1_metrics in the database that "
                "GLP1_DATABASE_URL names, and set GLP1_METRICS_DATABASE_URL to that database as this role."
            )
        return self.metrics_database_url or self._embedded_url("glp1_metrics", "postgresql", database="glp1")

    def _embedded_url(self, role: str, scheme: str, database: str | None = None) -> str:
        port = self.state.get("postgres_port")
        if port is None or not self.secrets.has(f"postgres_{role}"):
            raise SettingsError(
                f"There is no database yet in {self.home}. Start one with `glp1 up` or `make demo`, "
                "or set GLP1_DATABASE_URL and GLP1_DAGSTER_DATABASE_URL."
            )
        return embedded_url(scheme, role, self.secrets.get(f"postgres_{role}"), int(port), database or role)

    def ehr_base_url(self) -> str:
        if self.ehr_url:
            return self.ehr_url
        port = self.state.get("ehr_port")
        if port is None:
            raise SettingsError(f"There is no EHR yet in {self.home}. Start one with `glp1 up`, or set GLP1_EHR_URL.")
        return f"http://127.0.0.1:{port}/fhir"

    def ehr_credentials(self) -> EhrCredentials:
        """What the EHR's token endpoint knows us by; nothing when it asks for none."""
        known: EhrCredentials = {"scope": self.ehr_scope} if self.ehr_scope else {}
        if self.ehr_client_id and self.ehr_client_secret:
            return {"client_id": self.ehr_client_id, "client_secret": self.ehr_client_secret, **known}
        if self.ehr_client_id:
            return {"client_id": self.ehr_client_id, "client_key": self.ehr_key(), **known}
        if self.ehr_url is None and self.ehr_sandbox_auth:
            return {"client_id": "glp1-pipeline", "client_secret": self.secrets.get("ehr_client_secret")}
        return {}

    def ehr_key(self) -> str:
        """Our private key for the EHR, as PEM."""
        if self.ehr_client_key is None:
            if self.secrets.has(EHR_CLIENT_KEY):
                return self.secrets.get(EHR_CLIENT_KEY)
            raise SettingsError(
                "GLP1_EHR_CLIENT_ID has no secret and no key: set GLP1_EHR_CLIENT_SECRET, or make a key with"
                " `glp1 keys ehr` and register at the EHR what it prints."
            )
        try:
            return self.ehr_client_key.read_text("ascii")
        except OSError as error:
            raise SettingsError(
                f"GLP1_EHR_CLIENT_KEY: {self.ehr_client_key} cannot be read ({error.strerror})."
            ) from None
        except UnicodeDecodeError:
            raise SettingsError(f"GLP1_EHR_CLIENT_KEY: {self.ehr_client_key} is no file of PEM.") from None

    def ehr_hook_url_wanted(self) -> str | None:
        """Where the EHR tells us that something changed; None where it is not to, or could not reach us."""
        if not self.ehr_hints or (self.ehr_url and not self.ehr_hook_url and not is_loopback(self.ehr_url)):
            return None
        port = self.state.get("crm_hook_port")
        return self.ehr_hook_url or (f"http://127.0.0.1:{port}/ehr" if port else None)

    def crm_access(self) -> tuple[str, str]:
        """The CRM's base address and the token that it knows us by."""
        if self.crm_url and self.crm_token:
            return self.crm_url, self.crm_token
        port = self.state.get("crm_port")
        if port is None:
            raise SettingsError(f"There is no CRM yet in {self.home}. Start one with `glp1 up`, or set GLP1_CRM_URL.")
        return f"http://127.0.0.1:{port}", self.secrets.get("crm_token")

    @property
    def hears_crm_hooks(self) -> bool:
        """Not where the CRM's webhooks could not be checked."""
        return not self.crm_url or bool(self.crm_webhook_secret)

    def crm_hook_secret(self) -> str:
        """What the CRM signs its webhooks with."""
        if self.crm_webhook_secret:
            return self.crm_webhook_secret
        if self.crm_url:
            raise SettingsError("The CRM's webhooks cannot be checked: set GLP1_CRM_WEBHOOK_SECRET to what signs them.")
        return self.secrets.get_or_create("crm_webhook_secret")

    def ui_base_url(self) -> str:
        """Where people see the UI: for links in messages."""
        return self.ui_url or f"http://127.0.0.1:{self.state.get('ui_port') or self.ui_port}"

    def broker(self) -> Broker:
        folder = self.home / "broker"
        results = self.broker_result_url or f"file://{folder / 'results'}"
        # Dagster's launcher declares its queue so, and RabbitMQ refuses a queue that somebody declared otherwise.
        priorities = {"task_queue_max_priority": 10, "task_default_priority": 5}
        if self.broker_url:
            return Broker(self.broker_url, results, priorities)
        return Broker(
            "filesystem://",
            results,
            {
                "broker_transport": "glp1_pipeline.adapters.broker:Transport",
                "broker_transport_options": {
                    "data_folder_in": str(folder / "queue"),
                    "data_folder_out": str(folder / "queue"),
                    "control_folder": str(folder / "control"),  # kombu's default would be the folder one stands in
                    "polling_interval": 0.05,
                },
            },
        )

    def make_home(self) -> None:
        """Makes the folder and those in it. Root's may be walked through (not listed) by the account of Postgres."""
        try:
            self._make_folders()
        except OSError as error:
            raise SettingsError(
                f"{error.filename or self.home} cannot be made or used as a folder ({error.strerror}). Mend that, or"
                " choose another place by GLP1_HOME (of drops: GLP1_LANDING_URL)."
            ) from None

    def _make_folders(self) -> None:
        if not self.home.is_dir():
            self.home.mkdir(mode=0o700, parents=True)
            self.home.chmod(0o711 if os.geteuid() == 0 else 0o700)
        if os.statvfs(self.home).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.home))
        if not os.access(self.home, os.W_OK | os.X_OK):
            raise SettingsError(
                f"{self.home} belongs to another user. Run as that user, or set GLP1_HOME to a new folder."
            )
        for name in (
            "logs",
            "run",
            "dagster",
            "broker",
            "broker/queue",
            "broker/control",
            "broker/results",
            "ehr",
            "crm",
        ):
            (self.home / name).mkdir(mode=0o700, exist_ok=True)
        if "://" not in self.landing_url:
            Path(self.landing_url).mkdir(mode=0o700, parents=True, exist_ok=True)
