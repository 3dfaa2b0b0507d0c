"""The explanation of a name as lines for a terminal: what the portal's page shows, without its buttons."""

import click
import psycopg

from core.clock import utc_now
from core.i18n import N_, translator
from core.settings import BadSettings, Settings
from portal.reasons import (
    Mark,
    change_sentence,
    decision_sentence,
    event_sentence,
    explanation_lines,
    local_instant,
    rate_words,
    volume,
)
from radius.explain import NameExplanation, explain_name, resolve_name
from stack.terminal import told as _

_MARKS = {Mark.PASSED: "✓", Mark.CHANGED: "•", Mark.STOPPED: "✗"}


def explanation_text(settings: Settings, slug: str, name: str, language: str) -> str:
    """Return the explanation of a name of an operator, told by its short name. Raises click.ClickException."""
    if settings.database_url is None:
        raise BadSettings("PORTICO_DATABASE_URL is not set")
    with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=5) as connection:
        row = connection.execute("SELECT id FROM operator WHERE slug = %s", (slug,)).fetchone()
        if row is None:
            raise click.ClickException(_("There is no operator %(slug)s.", slug=slug))
        found = explain_name(connection, row[0], resolve_name(connection, row[0], name), utc_now())
    return "\n".join(_lines(found, language))


def _lines(found: NameExplanation, language: str) -> list[str]:
    say = translator(language)
    lines = [f"{found.name}: {decision_sentence(found, language)}", ""]
    lines += [f"  {_MARKS[line.mark]} {line.sentence}" for line in explanation_lines(found, language)]
    if changes := change_sentence(found, language):
        lines += ["", f"  {changes}"]
    if found.sessions:
        lines += ["", say(N_("Live sessions"))]
    for session in found.sessions:
        granted = rate_words(session.granted, language) if session.granted else "–"
        traffic = f"↓ {volume(session.octets_out, language)} ↑ {volume(session.octets_in, language)}"
        since = local_instant(session.started_at, found, language)
        lines.append(f"  {since}  {session.nas_name}  {session.framed_ip or '–'}  {granted}  {traffic}")
    if found.requests:
        lines += ["", say(N_("Last requests"))]
    for request in found.requests:
        sentence = event_sentence(request.outcome, request.reason, request.detail, language)
        lines.append(f"  {local_instant(request.at, found, language)}  {request.nas_name}  {sentence}")
    return lines
