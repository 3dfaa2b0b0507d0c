"""What pages may load: styles and scripts of ours alone, and pictures from a map's host where there is one."""

# Tabler's style sheet holds its small pictures as data: addresses.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)


def with_pictures_from(origin: str) -> str:
    """Return the policy with one more origin for pictures; `origin` is checked by who calls."""
    return CONTENT_SECURITY_POLICY.replace("img-src 'self' data:", f"img-src 'self' data: {origin}")
