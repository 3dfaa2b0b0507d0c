"""Every port, path and address of an installation, read from the environment as `PORTICO_…`.

An entry point reads the settings once and hands them down. `docs/settings.md` is generated from this class, so the
descriptions are written for the person who runs Portico.
"""

import ipaddress
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.crypto import BadKeyring, Keyring

Port = Annotated[int, Field(ge=1, le=65535)]


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 or IPv6 address") from None


def _keyring(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None:
        try:
            Keyring.parse(secret.get_secret_value())
        except BadKeyring as problem:
            raise ValueError(str(problem)) from None
    return secret


def _vpn_network(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 network, such as 10.200.0.0/16") from None
    if not 8 <= network.prefixlen <= 28:
        raise ValueError(f"a network of /8 to /28 is needed, not /{network.prefixlen}")
    return str(network)


def _networks(text: str) -> str:
    try:
        return ",".join(str(ipaddress.ip_network(each.strip())) for each in text.split(",") if each.strip())
    except ValueError as problem:
        raise ValueError(f"{problem}; networks such as 10.20.0.0/16, separated by commas, are needed") from None


Address = Annotated[str, AfterValidator(_address)]


class BadSettings(Exception):
    """One or more settings cannot be used; `str()` is one line for each."""


class Settings(BaseSettings):
    """The settings of one installation."""

    model_config = SettingsConfigDict(
        env_prefix="PORTICO_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(
        Path("/var/lib/portico"),
        description="Where everything that must survive is kept: the private PostgreSQL cluster, Redis, the journal,"
        " the image, keys and logs.",
    )
    user: str = Field(
        "portico", description="The unprivileged user that the pieces run as when Portico is started by root."
    )
    secret_keys: Annotated[SecretStr | None, AfterValidator(_keyring)] = Field(
        None,
        description="Keys that seal secrets at rest, `id:base64` of 32 octets, separated by commas. The first seals"
        " new values, all open old ones. Made at the first start and kept in `secrets.env` in the data directory.",
    )

    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL for the loader, publisher and worker (a role that may bypass row-level security),"
        " as a libpq URL. Unset: a private cluster in the data directory.",
    )
    portal_database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL for the portal, as the role `portico_portal`, which row-level security binds.",
    )
    owner_database_url: SecretStr | None = Field(
        None, description="PostgreSQL for migrations, as the role that owns the schema."
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis, Celery's broker. Unset: a private Redis in the data directory."
    )

    radius_address: Address = Field(
        "0.0.0.0",  # noqa: S104
        description="Address that radiusd listens on; it is also where CoA and Disconnect leave from.",
    )
    coa_source: Address | None = Field(
        None,
        description="Address that CoA-Request and Disconnect-Request leave from: the one that the routers know as"
        " their RADIUS server. Unset: the RADIUS address, or what the route says where that is 0.0.0.0.",
    )
    auth_port: Port = Field(1812, description="UDP port for Access-Request (RFC 2865).")
    acct_port: Port = Field(1813, description="UDP port for Accounting-Request (RFC 2866).")
    radsec_port: Port | None = Field(
        None,
        description="TCP port for RadSec, RADIUS over TLS (RFC 6614, 2083 by custom). Unset: no RadSec. Each NAS needs"
        " a certificate from `portico radsec certificate`.",
    )
    radiusd_threads: int = Field(4, ge=1, le=32, description="Worker threads of radiusd; 4 to 8 measured best.")
    journal_sync: bool = Field(
        False,
        description="Whether each accounting record is forced to the disk (fdatasync) before it is acknowledged."
        " Without it an acknowledged packet survives the death of every process, but not of the machine.",
    )

    journal_keep: float = Field(
        15.0,
        ge=0,
        le=86_400,
        description="Seconds for which accounting that is in PostgreSQL is kept in the journal as well. With a standby"
        " more than it may ever lag behind: what a promoted standby lacks is then loaded once more from here.",
    )
    node_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,63}$",
        description="Name of this node where several answer RADIUS for one database. Unset: the machine's.",
    )

    portal_address: Address = Field("127.0.0.1", description="Address that the portal listens on.")
    portal_port: Port = Field(8080, description="TCP port of the portal.")
    portal_threads: int = Field(8, ge=1, le=64, description="Threads of the portal's one process.")
    api_requests_per_minute: int = Field(
        600, ge=1, le=100_000, description="Requests that one token of the API may make in a minute."
    )
    portal_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#]+$",
        description="How people reach the portal from outside, such as https://portal.example.com: what links in"
        " mails and on documents begin with. Unset: the portal's own address and port.",
    )
    portal_https: bool = Field(
        False,
        description="Whether people reach the portal by HTTPS (behind a proxy): marks its cookies Secure.",
    )
    portal_proxies: int = Field(
        0,
        ge=0,
        le=5,
        description="How many reverse proxies stand before the portal (X-Forwarded-For is believed).",
    )

    portal_idle_hours: int = Field(
        12, ge=1, le=168, description="Hours without a request after which staff have to sign in again."
    )
    portal_session_days: int = Field(
        14, ge=1, le=90, description="Days after which staff have to sign in again, however busy they were."
    )

    libreqos_dir: Path | None = Field(
        None,
        description="Directory that LibreQoS's `network.json` and `ShapedDevices.csv` are written into each minute, in"
        " a subdirectory for each operator with its short name. Unset: they are not written.",
    )

    vpn: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether the VPN server for routers runs. `auto`: where it may, which takes root or CAP_NET_ADMIN,"
        " /dev/net/tun and free ports; `portico doctor` says why not. `on`: a start without it fails.",
    )
    vpn_endpoint: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9.:-]{1,253}$",
        description="Public name or address at which routers reach the VPN server. Unset: the name by which the portal"
        " is reached.",
    )
    vpn_network: Annotated[str, AfterValidator(_vpn_network)] = Field(
        "10.200.0.0/16",
        description="Private network of the VPN, which must be unused elsewhere: its first half is WireGuard's, its"
        " second half OpenVPN's. The server has the first address of each.",
    )
    vpn_wireguard_port: Port = Field(51820, description="UDP port of the VPN server for RouterOS 7 (WireGuard).")
    vpn_openvpn_port: Port = Field(1194, description="TCP port of the VPN server for RouterOS 6 (OpenVPN).")
    vpn_interface: str = Field(
        "portico",
        pattern=r"^[a-z][a-z0-9]{0,8}$",
        description="What the VPN's network interfaces are called, with -wg and -ovpn behind it.",
    )

    metrics_token: SecretStr | None = Field(
        None,
        description="What a Prometheus server sends to read `/metrics` and the details of `/health`, as"
        " `Authorization: Bearer …`. Unset: they are read from this machine only.",
    )
    monitor_interval: int = Field(
        60, ge=60, le=900, description="Seconds between two polls of a router; graphs by the minute need 60."
    )

    smtp_host: str | None = Field(
        None, description="Mail server that notices leave by. Unset: they wait in their table."
    )
    smtp_port: Port = Field(587, description="TCP port of the mail server; 465 is usual with `tls`.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection to the mail server is encrypted."
    )
    smtp_user: str | None = Field(None, description="Who signs in at the mail server. Unset: nobody does.")
    smtp_password: SecretStr | None = Field(None, description="Password for the mail server.")
    smtp_sender: str = Field("portico@localhost", description="Address that mail comes from.")
    smtp_timeout: float = Field(
        20.0, gt=0, le=300, description="Seconds that the mail server may take for each answer."
    )

    whatsapp_url: str = Field(
        "https://graph.facebook.com/v21.0",
        description="Where WhatsApp's Cloud API is asked, for the operators that have an account with it.",
    )
    local_gateways: bool = Field(
        False,
        description="Whether webhooks, the SMS gateway, channels of alerts and the mailbox of an operator may be at a"
        " private address, or one of this machine, and webhooks without https. Staff could otherwise look through them"
        " at what only this machine may reach.",
    )

    outbound_networks: Annotated[str, AfterValidator(_networks)] = Field(
        "",
        description="Private networks that webhooks, SMS gateways, mailboxes and channels of alerts may be in,"
        " separated by commas, such as 10.20.0.0/16. Everything else that is not public is refused.",
    )

    local_routers: bool = Field(
        False,
        description="Whether the API of a router may be at an address of this machine itself or of its link"
        " (127.0.0.0/8, 169.254.0.0/16, ::1, fe80::/10), as emulated routers are. Staff could otherwise look through it"
        " at what only this machine may reach. The demo implies it.",
    )
    backup_dir: Path | None = Field(
        None,
        description="Directory that a backup is written to each day, best on another machine's disk. Unset: none.",
    )
    backup_recipient: str | None = Field(
        None,
        description="Public key of age (`age1…`) that backups are encrypted for; `portico backup key` makes a pair."
        " The secret half is needed to restore and must not be kept on this machine.",
    )
    backup_s3_bucket: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]+)?$",
        description="Bucket of an S3-compatible storage that each backup is copied to, with a folder behind it where"
        " wanted (`portico-backups/north`). Unset: none.",
    )
    backup_s3_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+$",
        description="Address of that storage, such as https://s3.example.com. Unset: Amazon's.",
    )
    backup_s3_region: str = Field("us-east-1", description="Region of the bucket; most other storages ignore it.")
    backup_s3_key: str | None = Field(
        None, description="Access key of a user that may list, read, write and delete there."
    )
    backup_s3_secret: SecretStr | None = Field(None, description="Secret key of that user.")
    backup_hour: int = Field(3, ge=0, le=23, description="Hour of the day, UTC, at which the backup is made.")
    backup_days: int = Field(14, ge=1, le=3650, description="How many days a backup is kept; the newest always is.")
    sign_up: bool = Field(
        False,
        description="Whether ISPs may open an account themselves, at `/sign-up`: a demo of ten subscribers. The demo"
        " implies it. `portico platform` enters who runs the installation.",
    )
    demo: bool = Field(True, description="Whether `make run` seeds a demo operator and runs a small lab network.")
    lab_address: Address = Field("127.0.0.1", description="Address of the demo's emulated NAS.")
    lab_coa_port: Port = Field(3799, description="UDP port on which the demo's first NAS takes CoA and Disconnect.")
    lab_api_port: Port = Field(
        8728,
        description="TCP port of the RouterOS API of the demo's emulated routers, each at its own address.",
    )
    lab_gateway_port: Port = Field(
        12111, description="TCP port of the demo's payment providers, where a person pays with a test card."
    )
    lab_mail_port: Port = Field(
        12125, description="TCP port at which the demo takes its own mail, where no mail server is set."
    )
    lab_mail_page_port: Port = Field(12180, description="TCP port of the page that shows the mail of the demo.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least level logged.")

    @property
    def keyring(self) -> Keyring:
        """The keys that seal and open secrets. Raises BadSettings when none are set."""
        if self.secret_keys is None:
            raise BadSettings(
                "PORTICO_SECRET_KEYS is not set; `portico keys generate` prints a value, or start with `make run`"
            )
        return Keyring.parse(self.secret_keys.get_secret_value())

    @property
    def private_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of `outbound_networks`."""
        return tuple(ipaddress.ip_network(each) for each in self.outbound_networks.split(",") if each)

    @property
    def node(self) -> str:
        """The name under which this node reports."""
        return self.node_name or socket.gethostname()

    @property
    def public_url(self) -> str:
        """What links for people outside the portal begin with, without a slash at its end."""
        host = f"[{self.portal_address}]" if ":" in self.portal_address else self.portal_address
        host = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104
        return self.portal_url or f"http://{host}:{self.portal_port}"

    @property
    def sign_up_open(self) -> bool:
        """Whether ISPs may open an account themselves."""
        return self.sign_up or self.demo

    @property
    def journal_dir(self) -> Path:
        return self.data_dir / "journal"

    @property
    def image_dir(self) -> Path:
        return self.data_dir / "image"

    @property
    def radsec_dir(self) -> Path:
        """Keys and certificates of RadSec."""
        return self.data_dir / "radsec"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "log"

    @property
    def vpn_dir(self) -> Path:
        """What OpenVPN reads; written anew at each start."""
        return self.data_dir / "vpn"

    @property
    def run_dir(self) -> Path:
        """Sockets and pid files of the private pieces."""
        return self.data_dir / "run"


def read_settings() -> Settings:
    """Read the environment. Raises BadSettings with one line for each setting that is wrong."""
    try:
        return Settings()
    except ValidationError as problem:
        lines = []
        for error in problem.errors(include_url=False, include_input=False):
            name = "PORTICO_" + "_".join(str(part) for part in error["loc"]).upper()
            lines.append(f"{name}: {error['msg'].removeprefix('Value error, ')}")
        raise BadSettings("\n".join(lines)) from None
