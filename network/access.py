"""How a stored router is reached."""

from pydantic import SecretStr

from core.crypto import Keyring
from db.models import Router
from network.api import TIMEOUT, RouterAccess

PASSWORD_PURPOSE = "router.password"  # noqa: S105 - the name of a purpose


def access_of(router: Router, keyring: Keyring, timeout: float = TIMEOUT) -> RouterAccess:
    """Return the access to a router. `router.nas` must be loaded where it has no API address of its own.

    Raises core.crypto.SecretUnreadable.
    """
    return RouterAccess(
        address=str(router.api_address if router.api_address is not None else router.nas.address),
        port=router.api_port,
        tls=router.api_tls,
        fingerprint=router.api_fingerprint,
        user=router.api_user,
        password=SecretStr(keyring.open(PASSWORD_PURPOSE, router.api_password)),
        timeout=timeout,
    )
