"""The piece that makes the VPN equal to `vpn_peer` and writes down what it sees: `portico vpn`.

One such piece runs for an installation; a second waits for an advisory lock. NOTIFY tells of changed rows, and a timer
looks anyway. A tunnel's state is written when it changes, so a quiet VPN costs the database nothing but one heartbeat.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
import structlog
from psycopg.rows import dict_row

from core.clock import utc_now
from core.crypto import Keyring, SecretUnreadable
from core.settings import Settings
from core.status import Check, beat
from db.status import serve_status
from network.openvpn import Certificate, new_certificate
from network.vpn_halves import Observed, Obstacle, OpenVpnHalf, Peer, RunningHalf, WireGuardHalf
from network.vpn_links import LinkProblem
from network.vpn_plan import PEER_PURPOSE, SERVER_PURPOSE, Kind, Status, half
from network.wireguard import new_key_pair

SWEEP = 30.0
"""Seconds after which all peers are read although nobody said that one changed."""
LOOK = 2.0
"""Seconds between looks at the tunnels."""
HEARTBEAT = 15.0
"""Seconds between two writings of the server's own status."""
RETRY = 30.0
"""Seconds after which a half that could not run is tried again."""
_LOCK = "SELECT pg_try_advisory_lock(hashtext('portico vpn'))"

log = structlog.get_logger()


def main(settings: Settings) -> None:
    """Run until interrupted. Tunnels outlive a database that goes away."""
    assert settings.database_url is not None, "the settings are complete"
    dsn = settings.database_url.get_secret_value()
    server = Server(settings)
    serve_status(settings, "vpn", server.checks())
    try:
        while True:
            try:
                with psycopg.connect(
                    dsn, autocommit=True, connect_timeout=5, application_name="vpn", row_factory=dict_row
                ) as connection:
                    server.run(connection)
            except psycopg.Error as problem:
                log.warning("database_unreachable", error=type(problem).__name__)
            time.sleep(1)
    except KeyboardInterrupt:
        log.info("vpn_stopping")
    finally:
        server.stop()


class Server:
    """Both halves, what they were last made equal to, and what was last written down of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keyring = settings.keyring
        self._halves: dict[Kind, RunningHalf] = {}
        self._status: dict[Kind, Status] = {}
        self._peers: dict[Kind, list[Peer]] = {Kind.WIREGUARD: [], Kind.OPENVPN: []}
        self._retry_at: dict[Kind, float] = {}
        self._written: dict[int, tuple[object, ...]] = {}
        self._since: dict[int, datetime | None] = {}

    def run(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        """Work with one connection until it breaks."""
        waiting = False
        while not self._is_ours(connection):
            if not waiting:
                log.info("vpn_waits", why="another process of this installation runs the VPN")
            waiting = True
            time.sleep(2)
        connection.execute("LISTEN portico_vpn")
        self._halves = self._halves or self._make_halves(connection)
        self._since = _known_since(connection)
        read_at = beat_at = 0.0
        changed = True
        while True:
            now = time.monotonic()
            if changed or now - read_at >= SWEEP:
                self._peers = read_peers(connection, self._keyring)
                self._apply()
                read_at = now
            self._keep_up()
            self._observe(connection)
            if changed or now - beat_at >= HEARTBEAT:
                self._beat(connection)
                beat_at = now
            beat("tunnels")
            changed = any(True for _ in connection.notifies(timeout=LOOK, stop_after=1))

    def checks(self) -> dict[str, Check]:
        """Return what may be wrong with either half; nothing is where another process runs them."""

        def of(kind: Kind) -> Check:
            return lambda: "" if self._status.get(kind, Status.ON) is Status.ON else str(self._status[kind])

        return {kind.value: of(kind) for kind in Kind}

    def stop(self) -> None:
        for running in self._halves.values():
            running.stop()

    def _is_ours(self, connection: psycopg.Connection[dict[str, Any]]) -> bool:
        row = connection.execute(_LOCK).fetchone()
        return row is not None and bool(row["pg_try_advisory_lock"])

    def _make_halves(self, connection: psycopg.Connection[dict[str, Any]]) -> dict[Kind, RunningHalf]:
        private_key, certificate = server_keys(connection, self._keyring, utc_now())
        owner = f"portico {self._settings.data_dir}"
        return {
            Kind.WIREGUARD: WireGuardHalf(half(self._settings, Kind.WIREGUARD), owner, private_key),
            Kind.OPENVPN: OpenVpnHalf(half(self._settings, Kind.OPENVPN), owner, self._settings.vpn_dir, certificate),
        }

    def _apply(self) -> None:
        for kind, running in self._halves.items():
            if running.is_up:
                try:
                    running.apply(self._peers[kind])
                except LinkProblem as problem:
                    log.error("vpn_not_applied", kind=kind.value, error=str(problem))
                    running.stop()

    def _keep_up(self) -> None:
        """Start what does not run; say why it cannot once, and not at every try."""
        for kind, running in self._halves.items():
            if running.is_up or time.monotonic() < self._retry_at.get(kind, 0.0):
                continue
            try:
                running.start(self._peers[kind])
                status = Status.ON
            except Obstacle as problem:
                status = problem.status
                self._retry_at[kind] = time.monotonic() + RETRY
                if self._status.get(kind) is not status:
                    log.warning("vpn_off", kind=kind.value, why=status.value, detail=str(problem))
            self._status[kind] = status

    def _observe(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        now = utc_now()
        for kind, running in self._halves.items():
            observed: Mapping[int, Observed] = {}
            if running.is_up:
                try:
                    observed = running.observe(self._peers[kind], now)
                except LinkProblem as problem:
                    log.warning("vpn_not_observed", kind=kind.value, error=str(problem))
                    continue
            self._write(connection, self._peers[kind], observed)

    def _write(
        self,
        connection: psycopg.Connection[dict[str, Any]],
        peers: Sequence[Peer],
        observed: Mapping[int, Observed],
    ) -> None:
        rows = []
        for peer in peers:
            one = observed.get(peer.id)
            since = self._connected_since(peer.id, one)
            if one is None:
                state: tuple[object, ...] = (since,)
            else:
                state = (since, one.seen.handshake_at, one.seen.endpoint, one.seen.received, one.seen.sent)
            if self._written.get(peer.id) == state:
                continue
            self._written[peer.id] = state
            rows.append(
                {
                    "peer": peer.id,
                    "operator": peer.operator_id,
                    "since": since,
                    "handshake": one.seen.handshake_at if one else None,
                    "endpoint": one.seen.endpoint if one else "",
                    "received": one.seen.received if one else 0,
                    "sent": one.seen.sent if one else 0,
                }
            )
        if rows:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(_WRITE_STATE, rows)

    def _connected_since(self, peer_id: int, one: Observed | None) -> datetime | None:
        """Return since when a tunnel is up: what is known already, as long as it has not been down."""
        since = None
        if one is not None and one.alive:
            since = one.since or self._since.get(peer_id) or one.seen.handshake_at
        self._since[peer_id] = since
        return since

    def _beat(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        connection.execute(
            "UPDATE vpn_server SET wireguard_status = %s, openvpn_status = %s, seen_at = now()",
            (self._status.get(Kind.WIREGUARD, ""), self._status.get(Kind.OPENVPN, "")),
        )


# A peer may have been removed since it was read. What was last heard of one that is down stays.
_WRITE_STATE = """
INSERT INTO vpn_peer_state AS state
    (peer_id, operator_id, connected_since, handshake_at, endpoint, received, sent, updated_at)
SELECT id, operator_id, %(since)s, %(handshake)s, %(endpoint)s, %(received)s, %(sent)s, now()
FROM vpn_peer WHERE id = %(peer)s AND operator_id = %(operator)s
ON CONFLICT (peer_id) DO UPDATE SET
    connected_since = excluded.connected_since,
    handshake_at = coalesce(excluded.handshake_at, state.handshake_at),
    endpoint = coalesce(nullif(excluded.endpoint, ''), state.endpoint),
    received = excluded.received, sent = excluded.sent, updated_at = now()
"""


def server_keys(
    connection: psycopg.Connection[dict[str, Any]], keyring: Keyring, now: datetime
) -> tuple[str, Certificate]:
    """Return WireGuard's private key and OpenVPN's certificate; the first server that runs makes them."""
    query = "SELECT wireguard_key, openvpn_certificate, openvpn_key FROM vpn_server"
    if connection.execute(query).fetchone() is None:
        pair, made = new_key_pair(), new_certificate(now)
        connection.execute(
            "INSERT INTO vpn_server (id, wireguard_public, wireguard_key, openvpn_certificate, openvpn_key)"
            " VALUES (1, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                pair.public,
                keyring.seal(SERVER_PURPOSE, pair.private),
                made.certificate,
                keyring.seal(SERVER_PURPOSE, made.key),
            ),
        )
    row = connection.execute(query).fetchone()
    assert row is not None
    certificate = Certificate(row["openvpn_certificate"], keyring.open(SERVER_PURPOSE, bytes(row["openvpn_key"])))
    return keyring.open(SERVER_PURPOSE, bytes(row["wireguard_key"])), certificate


def read_peers(connection: psycopg.Connection[dict[str, Any]], keyring: Keyring) -> dict[Kind, list[Peer]]:
    """Return every operator's peers. One whose secret does not open is left out, and said so."""
    peers: dict[Kind, list[Peer]] = {Kind.WIREGUARD: [], Kind.OPENVPN: []}
    for row in connection.execute(
        "SELECT p.id, p.operator_id, kind, address, public_key, user_name, secret FROM vpn_peer p"
        " JOIN operator o ON o.id = p.operator_id WHERE o.active ORDER BY p.id"
    ):
        kind = Kind(row["kind"])
        secret = ""
        if kind is Kind.OPENVPN:
            try:
                secret = keyring.open(PEER_PURPOSE, bytes(row["secret"]))
            except SecretUnreadable:
                log.error("vpn_secret_unreadable", peer_id=row["id"])
                continue
        peers[kind].append(
            Peer(row["id"], row["operator_id"], row["address"], row["public_key"] or "", row["user_name"] or "", secret)
        )
    return peers


def _known_since(connection: psycopg.Connection[dict[str, Any]]) -> dict[int, datetime | None]:
    rows = connection.execute("SELECT peer_id, connected_since FROM vpn_peer_state").fetchall()
    return {row["peer_id"]: row["connected_since"] for row in rows}
