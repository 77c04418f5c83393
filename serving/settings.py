"""One `Settings`, read from the environment (prefix `CLARION_`) once, where a process starts."""

import ipaddress
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.errors import ConfigurationError
from serving.queue.limits import MAX_AMOUNT

PREFIX = "CLARION_"
CAPTURE_WITHIN = {"sandbox": math.inf, "stripe": (4 * 24 + 18) * 3600.0}
"""Seconds that a provider holds money for us, at most. Stripe's is what Visa gives where the payer is absent; others
give 7 days (https://docs.stripe.com/payments/place-a-hold-on-a-payment-method, "Authorization validity windows")."""

PROTECTED = r"^(https://[^/\s]+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?)(/\S*)?$"
"""URLs whose answers nobody on the way can change: HTTPS, or this machine."""


def _network(text: str) -> str:
    ipaddress.ip_network(text)
    return text


Port = Annotated[int, Field(ge=1, le=65_535)]
Network = Annotated[str, AfterValidator(_network)]
Hostname = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?$")]
TlsPolicy = Literal["plain", "opportunistic", "required"]


class Settings(BaseSettings):
    """Where things lie and how much they cost. Durations are seconds, money is minor units of `currency`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    home: Path = Path("var")
    key_folder: Path | None = None  # of the key files, such as a mounted folder of secrets; None: `home`/keys
    database: str = ""  # a postgresql:// URL that brokers of several machines share; empty: a SQLite file in `home`
    http_port: Port = 3000
    mlflow_port: Port = 5000
    model: str = "models:/clarion@champion"
    artefact: Path | None = None

    rate: Annotated[float, Field(ge=0, le=1e6)] = 100.0  # requests a second of a sender, at each gateway; 0: any
    burst: Annotated[int, Field(ge=1, le=10**9)] = 5_000  # of them at once
    oidc_issuer: Annotated[str, Field(pattern=f"^$|{PROTECTED}")] = ""  # of bearer tokens; empty: API keys alone
    oidc_audience: str = ""  # that a token must be for
    oidc_jwks: Annotated[str, Field(pattern=f"^$|{PROTECTED}")] = ""  # its keys' URL; empty: as its discovery says

    intake_host: str = "127.0.0.1"  # where mail comes in by SMTP
    intake_port: Port = 2587
    intake_certificate: Path | None = None  # PEM, for STARTTLS, with intake_key; None: AUTH on this machine alone
    intake_key: Path | None = None
    intake_networks: dict[str, str] = {}  # whose mail it is that comes from there without AUTH: network → sender's id
    intake_workers: Annotated[int, Field(ge=1, le=64)] = 1  # processes that share the port
    intake_connections: Annotated[int, Field(ge=1)] = 1_000  # of each process
    intake_connections_each: Annotated[int, Field(ge=1)] = 200  # of one address

    delivery: Literal["smarthost", "mx"] = "smarthost"  # all mail to one server, or each domain's to its own
    smtp_host: str = "127.0.0.1"  # the smarthost
    smtp_port: Port = 2525  # 465: TLS from the first octet on
    smtp_user: str = ""  # that the smarthost knows us by; TLS is required then, and verified
    smtp_password: SecretStr = SecretStr("")
    smtp_hostname: Hostname = ""  # what we say in EHLO, and an MX that is us; empty: the domain of `mail_from`
    smtp_ca_file: Path | None = None  # PEM, trusted besides what this machine trusts
    mx_port: Port = 25
    tls_policy: TlsPolicy = "opportunistic"  # towards all servers; `required` is verified for the server's name
    tls_exceptions: dict[str, TlsPolicy] = {}  # of domains, by MX
    mx_networks: tuple[Network, ...] = ()  # by MX: where domains' servers may lie that are not public (10.0.0.0/8)
    mta_sts: bool = True  # by MX: whether policies of domains (RFC 8461) are asked for and followed
    delivery_places: Annotated[int, Field(ge=4, le=1024)] = 64  # mails in the making at once, in each process
    delivery_connections: Annotated[int, Field(ge=1)] = 10  # of them to a smarthost or domain; urgent: one more
    mx_rate: Annotated[float, Field(ge=0)] = 20.0  # mails a second to one domain; 0: any
    connection_mails: Annotated[int, Field(ge=1)] = 100  # over one connection
    connection_idle: Annotated[float, Field(gt=0)] = 30.0
    mail_from: str = "clarion@clarion.invalid"
    dkim_selector: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] = "clarion"
    delivery_expiry: float = 5 * 86_400.0
    first_retry: float = 60.0
    longest_retry: float = 3600.0
    report_delay: Annotated[float, Field(ge=0)] = 4 * 3600.0  # after which a sender is told that its mail still waits
    suppression_days: Annotated[float, Field(ge=0)] = 30.0  # without mail to an address that a receiver says is none

    provider: Literal["sandbox", "stripe"] = "sandbox"
    provider_url: str = "http://127.0.0.1:4242"
    stripe_key: SecretStr = SecretStr("")
    stripe_webhook_secret: SecretStr = SecretStr("")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    price: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] = 5
    free_notifications: Annotated[int, Field(ge=0)] = 0  # that each recipient has in a month
    payment_wait: Annotated[float, Field(ge=0)] = 86_400.0
    unpaid: Literal["expire", "deliver", "digest"] = "expire"  # what becomes of mail that nobody paid for in time
    hold_expiry: float = 6.5 * 86_400.0  # by when a hold has been captured or returned
    top_ups: tuple[Annotated[int, Field(gt=0, le=MAX_AMOUNT)], ...] = (500, 1000, 2000)  # that the pay page offers
    public_url: str = ""  # under which people reach this service; empty: this machine, at `http_port`

    x402_facilitator: str = ""  # URL of who settles what machines pay; empty: machines cannot pay
    x402_network: str = ""  # CAIP-2: eip155:8453
    x402_asset: str = ""  # the contract of a stable coin of `currency`
    x402_asset_name: str = ""  # of its EIP-712 domain, as x402_asset_version
    x402_asset_version: str = ""
    x402_asset_decimals: Annotated[int, Field(ge=2, le=18)] = 6
    x402_pay_to: str = ""  # our address

    dns_servers: tuple[str, ...] = ()  # addresses; empty: those that this machine asks
    dns_port: Port = 53
    webhook_networks: tuple[Network, ...] = ()  # where webhooks may lie that are not public
    trusted_sealers: tuple[str, ...] = ()  # domains whose ARC seals vouch for what they forwarded

    apprise_schemes: tuple[str, ...] = (  # that urgent mail may escalate to (Apprise's names); they speak TLS alone
        "discord", "gotifys", "jsons", "matrixs", "mmosts", "ntfys", "opsgenie", "pagerduty", "pover",
        "signals", "slack", "tgram", "twilio", "vonage", "workflows",
    )  # fmt: skip

    imap_password: SecretStr = SecretStr("")  # of the mailbox that `clarion reactions watch` opens

    digest_interval: float = 86_400.0
    max_body: int = 25 * 1024 * 1024
    retention_days: Annotated[float, Field(ge=0)] = 30.0  # of bodies of ended mail; of idempotency keys, at least 7

    @classmethod
    def read(cls, **stated: Any) -> Self:
        """From the environment, but for what is `stated`. Raises ConfigurationError naming what is wrong."""
        try:
            return cls(**stated)
        except ValidationError as error:
            first = error.errors(include_input=False, include_context=False, include_url=False)[0]
            name = f"{PREFIX}{first['loc'][0]}".upper() if first["loc"] else f"{PREFIX}…"
            raise ConfigurationError(f"{name} cannot be used: {first['msg']}; see serving/settings.py") from None

    @model_validator(mode="after")
    def _money_outlives_mail(self) -> Self:
        """A hold must not end while its mail may still be delivered, nor outlive what a card is held for."""
        within = CAPTURE_WITHIN[self.provider]
        if not self.payment_wait + self.delivery_expiry < self.hold_expiry < within:
            raise ValueError(
                f"PAYMENT_WAIT + DELIVERY_EXPIRY must be less than HOLD_EXPIRY, and that less than {within:.0f} seconds"
            )
        return self

    @model_validator(mode="after")
    def _tokens_are_for_somebody(self) -> Self:
        """A token for another service of the same issuer must not pass here (RFC 8725 section 3.9)."""
        if self.oidc_issuer and not self.oidc_audience:
            raise ValueError("OIDC_ISSUER needs an OIDC_AUDIENCE")
        return self

    def environment(self) -> dict[str, str]:
        """The same settings for a program of ours, as `read` takes them; secrets among them."""
        stated = {f"{PREFIX}{name.upper()}": value for name, value in self.model_dump(exclude_none=True).items()}
        return {name: _text(value) for name, value in stated.items()}

    @property
    def pay_url(self) -> str:
        """Where the pay page is; a token follows."""
        return f"{self._public}/pay"

    @property
    def react_url(self) -> str:
        """Where a recipient tells one thing of a mail; a token follows."""
        return f"{self._public}/r"

    @property
    def unsubscribe_url(self) -> str:
        """Where a recipient asks for fewer digests; a token follows."""
        return f"{self._public}/u"

    @property
    def _public(self) -> str:
        return self.public_url.rstrip("/") or f"http://127.0.0.1:{self.http_port}"

    @property
    def socket(self) -> Path:
        """The broker's Unix socket."""
        return self.home / "run" / "broker.sock"

    @property
    def store(self) -> str:
        """Where the broker keeps everything; nobody else opens it."""
        return self.database or str((self.home / "store" / "clarion.sqlite3").absolute())

    @property
    def keys(self) -> Path:
        """The folder of key files, beside the store and never inside it."""
        return self.key_folder or self.home / "keys"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking store and registry."""
        return f"sqlite:///{self.home.resolve() / 'mlflow' / 'mlflow.db'}"

    @property
    def maildir(self) -> Path:
        """Where the demo's receiver keeps what it accepts."""
        return self.home / "maildir"

    @property
    def provider_log(self) -> Path:
        """The sandbox provider's own log; none of ours."""
        return self.home / "provider.jsonl"

    @property
    def topology(self) -> Path:
        """The pipeline's table as the broker reads it."""
        return self.home / "run" / "topology.json"


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, tuple | dict) else str(value)
