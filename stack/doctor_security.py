"""`portico doctor`, the part about who could get in: secrets that others know, open doors, old keys.

As in `stack.doctor`, each check is a function from what was seen to a `Finding`. Nothing here prints a secret or a
name of a person: counts are enough to go and look.
"""

import ipaddress
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.crypto import SecretUnreadable
from core.settings import BadSettings, Settings
from stack.finding import Finding, Level
from stack.installation import complete, secrets_file

if TYPE_CHECKING:
    import psycopg

KNOWN_SECRETS = frozenset(
    ("testing123", "secret", "radius", "mikrotik", "admin", "portico", "password", "12345678", "changeme", "")
)
"""What examples and manuals use as a RADIUS secret or a password of a router."""
OLD_KEY = 365
"""Days after which the sealing key should be changed."""
_PRIVATE = ("*.key", "*.pem", "*.age", "*.env", "*.p12")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the database tells about who could get in; counts."""

    known_nas_secrets: int
    known_router_passwords: int
    managers: int
    managers_without_factor: int
    portal_role_unbound: bool  # it is a superuser, passes row-level security by, or owns tables
    unprotected_tables: tuple[str, ...]


def check_known_secrets(nas: int, routers: int) -> Finding:
    subject = "Known secrets"
    parts = [f"{count} {what}" for count, what in ((nas, "NAS"), (routers, "routers")) if count]
    if parts:
        text = f"{' and '.join(parts)} have a secret that manuals print"
        return Finding(Level.FAIL, subject, text, "change it in their forms and on the routers: everybody tries it")
    return Finding(Level.OK, subject, "no NAS or router has one that manuals print")


def check_second_factors(managers: int, without: int) -> Finding:
    subject = "Second factors"
    if without:
        text = f"{without} of {managers} managers sign in with a password alone"
        return Finding(Level.WARN, subject, text, "Settings > Signing in demands a second factor of a role")
    return Finding(Level.OK, subject, f"all {managers} managers have one" if managers else "there are no managers yet")


def check_portal_role(*, unbound: bool, unprotected: Iterable[str]) -> Finding:
    """Row-level security binds neither superusers nor owners: with one of them operators would see each other."""
    subject = "Portal's database role"
    if unbound:
        text = "row-level security does not bind it"
        return Finding(Level.FAIL, subject, text, "PORTICO_PORTAL_DATABASE_URL must name the role portico_portal")
    names = sorted(unprotected)
    if names:
        return Finding(Level.FAIL, subject, f"tables without row-level security: {', '.join(names)}", "portico migrate")
    return Finding(Level.OK, subject, "bound by row-level security, on every table of operators")


def check_https(address: str, url: str | None, *, https: bool) -> Finding:
    """Without HTTPS, passwords and cookies can be read on the way."""
    subject = "HTTPS"
    if https:
        if url is not None and not url.startswith("https://"):
            return Finding(
                Level.FAIL, subject, f"links begin with {url}", "set PORTICO_PORTAL_URL to the https address"
            )
        return Finding(Level.OK, subject, "cookies are Secure")
    advice = "put a proxy with HTTPS before the portal and set PORTICO_PORTAL_HTTPS=true"
    if url is not None and url.startswith("https://"):
        return Finding(Level.FAIL, subject, "people come by HTTPS, and cookies are not marked Secure", advice)
    if ipaddress.ip_address(address).is_loopback and url is None:
        return Finding(Level.OK, subject, "the portal is reached from this machine only")
    return Finding(Level.FAIL, subject, "passwords and cookies travel in clear", advice)


def check_openness(settings: Settings) -> Finding:
    """Settings that are right for trying things out, and wrong where others can come."""
    subject = "Open settings"
    reached = settings.portal_url is not None or not ipaddress.ip_address(settings.portal_address).is_loopback
    found = [
        name
        for name, is_open in (
            ("PORTICO_LOG_LEVEL=DEBUG", settings.log_level == "DEBUG"),
            ("PORTICO_LOCAL_ROUTERS", settings.local_routers),
            ("PORTICO_LOCAL_GATEWAYS", settings.local_gateways),
            ("PORTICO_DEMO", settings.demo and reached),
            ("PORTICO_SIGN_UP", settings.sign_up_open),
        )
        if is_open
    ]
    if found:
        text = f"{', '.join(found)} {'is' if len(found) == 1 else 'are'} on"
        return Finding(
            Level.WARN, subject, text, "switch off what strangers should not find where they reach the portal"
        )
    return Finding(Level.OK, subject, "none that is only for trying things out")


def check_key_age(days: float | None) -> Finding:
    """`days` since the keys' file was last changed; None where they are kept elsewhere."""
    subject = "Sealing key"
    if days is None:
        return Finding(Level.OK, subject, "kept outside of secrets.env, so its age is not known here")
    if days > OLD_KEY:
        return Finding(
            Level.WARN, subject, f"unchanged for {days:.0f} days", "portico keys add, then rotate, then retire"
        )
    return Finding(Level.OK, subject, f"changed {days:.0f} days ago")


def check_open_files(paths: Iterable[Path]) -> Finding:
    """`paths` are private files that other users may read."""
    subject = "Private files"
    names = sorted(str(path) for path in paths)
    if names:
        text = f"{len(names)} can be read by others, such as {names[0]}"
        return Finding(Level.FAIL, subject, text, f"chmod go= {names[0]}")
    return Finding(Level.OK, subject, "closed to other users")


def examine_security(settings: Settings) -> Iterator[Finding]:
    """Look at this installation."""
    yield check_https(settings.portal_address, settings.portal_url, https=settings.portal_https)
    yield check_openness(settings)
    yield check_key_age(_key_age(settings))
    yield check_open_files(open_files(settings))
    seen = look(settings)
    if seen is None:
        yield Finding(Level.WARN, "Who could get in", "not looked at: no database", "start Portico and ask again")
        return
    yield check_known_secrets(seen.known_nas_secrets, seen.known_router_passwords)
    yield check_second_factors(seen.managers, seen.managers_without_factor)
    yield check_portal_role(unbound=seen.portal_role_unbound, unprotected=seen.unprotected_tables)


def open_files(settings: Settings) -> list[Path]:
    """Return keys, certificates' keys and backups that other users may read, all directories above included."""
    found = []
    for directory in filter(None, (settings.data_dir, settings.radsec_dir, settings.backup_dir)):
        if not directory.is_dir() or _closed(directory):
            continue
        for pattern in _PRIVATE:
            found += [path for path in directory.glob(pattern) if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]
    return found


def _closed(directory: Path) -> bool:
    return any(not path.stat().st_mode & stat.S_IXOTH for path in (directory, *directory.parents))


def _key_age(settings: Settings) -> float | None:
    path = secrets_file(settings)
    try:
        return (time.time() - path.stat().st_mtime) / 86400 if path.exists() else None
    except OSError:
        return None


def look(settings: Settings) -> Seen | None:
    """Ask the database; None when it does not answer."""
    import psycopg

    try:
        settings = complete(settings)
        assert settings.database_url is not None
        assert settings.portal_database_url is not None
        with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=3) as connection:
            nas = _known(settings, connection, "SELECT secret FROM nas", "nas.secret")
            routers = _known(settings, connection, "SELECT api_password FROM router", "router.password")
            people = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM authenticator a WHERE a.staff_id ="
                " staff.id AND a.confirmed_at IS NOT NULL) AND NOT EXISTS (SELECT FROM passkey p WHERE p.staff_id ="
                " staff.id)) FROM staff WHERE active AND 'manager' = ANY(roles)"
            ).fetchone()
            tables = connection.execute(
                "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
                " AND a.attname = 'operator_id'"
                " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace"
                " AND NOT c.relrowsecurity"
            ).fetchall()
        with psycopg.connect(settings.portal_database_url.get_secret_value(), connect_timeout=3) as portal:
            role = portal.execute(
                "SELECT rolsuper OR rolbypassrls OR EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid)"
                " FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except (psycopg.Error, BadSettings):
        return None
    managers, without = people or (0, 0)
    return Seen(nas, routers, managers, without, bool(role and role[0]), tuple(name for (name,) in tables))


def _known(settings: Settings, connection: "psycopg.Connection[Any]", query: str, purpose: str) -> int:
    count = 0
    for (sealed,) in connection.execute(query.encode()):
        try:
            count += settings.keyring.open(purpose, bytes(sealed)) in KNOWN_SECRETS
        except SecretUnreadable:
            continue
    return count
