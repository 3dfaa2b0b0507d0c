from portal.permissions import Permission
from stack.installation import PROJECT
from stack.permissions_page import permissions_page


def test_the_page_of_permissions_is_what_portico_docs_prints():
    """If this fails: `.venv/bin/portico docs permissions > docs/permissions.md`."""
    page = permissions_page()
    assert (PROJECT / "docs" / "permissions.md").read_text(encoding="utf-8") == page
    assert all(f"| `{permission}` |" in page for permission in Permission)
