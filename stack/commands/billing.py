"""`portico billing`: the billing run, its preview, and a simulation of months to come."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from stack.installation import installed_settings
from stack.terminal import told as _

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from billing.rules import BillingRules


@click.group()
def command() -> None:
    """Bill by hand, see what would be billed, and try rules on months to come."""


@command.command()
@click.argument("slug")
def run(slug: str) -> None:
    """Issue now all that is due of the operator SLUG, as the timer does. Harmless when nothing is."""
    from billing.run import run_billing
    from core.clock import utc_now

    with _rules(slug) as (_session, rules, sessions):
        done = run_billing(sessions, rules.operator_id, utc_now())
    click.echo(
        _("%(invoices)s invoices issued, %(followed)s services followed.",
          invoices=done.invoices, followed=done.followed)
    )  # fmt: skip
    if done.waiting:
        click.echo(_("Invoices that wait for a recent exchange rate: %(count)s.", count=done.waiting))


@command.command()
@click.argument("slug")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="The day of the run; today by default.")
def preview(slug: str, day: object) -> None:
    """Show what the run would issue for the operator SLUG, issuing nothing."""
    from datetime import datetime
    from decimal import Decimal

    from billing.run import preview_run
    from core.clock import utc_now
    from core.money import format_money

    with _rules(slug) as (session, rules, _sessions):
        chosen = day.date() if isinstance(day, datetime) else rules.today(utc_now())
        drafts = list(preview_run(session, rules, chosen))
        for each in drafts:
            period = f"{each.period.first} – {each.period.last}" if each.period else ""
            total = format_money(each.total, rules.currency, rules.locale)
            service = _("service %(id)s", id=f"{each.service_id:>8}")
            due = _("due %(day)s", day=each.due_on)
            click.echo(f"{service}  {period}  {due}  {total:>16}")
        if not drafts:
            click.echo(_("Nothing is due."))
            return
        total = format_money(sum((each.total for each in drafts), Decimal(0)), rules.currency, rules.locale)
        click.echo(_("Invoices: %(count)s, %(total)s", count=len(drafts), total=total))


@command.command()
@click.argument("slug")
@click.option("--months", default=12, show_default=True, type=click.IntRange(1, 60))
@click.option("--price", type=float, default=None, help="Compare with every price changed by so many percent.")
@click.option("--cut-off-day", type=click.IntRange(1, 31), help="Compare with another cut-off day.")
@click.option("--cut-off", type=click.Choice(["operator", "anchor"]), help="Compare with the other cut-off rule.")
def simulate(slug: str, months: int, price: float | None, cut_off_day: int | None, cut_off: str | None) -> None:
    """Show what the operator SLUG will bill in the months to come, on a clock of its own. Changes nothing.

    With a proposal (--price, --cut-off-day, --cut-off) it is shown beside what will be billed as things are.
    """
    from decimal import Decimal

    from billing.preview import NOTHING, Proposal
    from billing.simulation import simulate as simulated
    from core.clock import utc_now
    from core.money import format_money

    percent = None if price is None else Decimal(str(price))
    proposal = Proposal(price_percent=percent, cut_off_day=cut_off_day, cut_off=cut_off)
    with _rules(slug) as (session, rules, _sessions):
        today = rules.today(utc_now())
        now = simulated(session, rules, months, today)
        then = simulated(session, rules, months, today, proposal) if proposal != NOTHING else None
    titles = [_("month").ljust(7), _("invoices").rjust(8), _("total").rjust(17)]
    titles += [_("proposed").rjust(17), _("difference").rjust(17)] if then else []
    click.echo("  ".join(titles))
    for number, sums in enumerate(now):
        line = f"{sums.month:%Y-%m}  {sums.invoices:>8}  {format_money(sums.total, rules.currency, rules.locale):>17}"
        if then:
            other, difference = then[number].total, then[number].total - sums.total
            for amount in (other, difference):
                line += f"  {format_money(amount, rules.currency, rules.locale):>17}"
        click.echo(line)


@contextmanager
def _rules(slug: str) -> "Iterator[tuple[Session, BillingRules, sessionmaker[Session]]]":
    from sqlalchemy import select

    from billing.rules import BillingOff, rules_of
    from db.models import Operator
    from db.session import make_engine, make_sessions

    settings = installed_settings()
    assert settings.database_url is not None
    engine = make_engine(settings.database_url.get_secret_value())
    sessions = make_sessions(engine)
    try:
        with sessions() as session:
            operator = session.scalar(select(Operator).where(Operator.slug == slug))
            if operator is None:
                raise click.ClickException(_("There is no operator %(slug)s.", slug=slug))
            try:
                rules = rules_of(session, operator.id)
            except BillingOff:
                message = _("%(slug)s does not bill: switch it on in the portal, under Billing.", slug=slug)
                raise click.ClickException(message) from None
            yield session, rules, sessions
    finally:
        engine.dispose()
