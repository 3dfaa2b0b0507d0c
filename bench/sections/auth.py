"""Access-Requests: how many a second, against the limit and against rlm_sql."""

from contextlib import ExitStack

from bench import baselines
from bench.baselines import FILES, SQL_STOCK
from bench.generator import write_users
from bench.portico import PORTICO, PORTICO_LOADING, first_login, portico
from bench.report import Section, Table, at_least, rounds_table
from bench.rounds import Measured, compare, median, ratio
from bench.sections import Options
from bench.site import make_users, open_site


def measure(options: Options) -> Section:
    """Measure PAP, and PAP, CHAP and MS-CHAPv2 in turn, with 100,000 services."""
    users = make_users(options.scaled(100_000, 2_000))
    with open_site() as site, ExitStack() as stack:
        users_file = write_users(site.directory / "users.csv", users)
        ours = stack.enter_context(portico(site, users))
        first_login(ours, users_file)
        baselines.fill_radius_database(site, users)
        contenders = [
            stack.enter_context(baselines.files(site, users, users_file)),
            *ours.contenders(users_file),
            stack.enter_context(baselines.sql_bare(site, users_file)),
            stack.enter_context(baselines.sql_stock(site, users_file)),
        ]
        results = {mode: compare(contenders, options.plan(mode)) for mode in ("pap", "mix")}
    targets = []
    for mode, label in (("pap", "PAP"), ("mix", "PAP/CHAP/MS-CHAPv2")):
        rounds = results[mode]
        targets += [
            at_least(f"{label}, of rlm_files", 0.6, ratio(rounds[PORTICO], rounds[FILES])),
            at_least(f"{label}, loader at work, of rlm_files", 0.45, ratio(rounds[PORTICO_LOADING], rounds[FILES])),
            at_least(f"{label}, times stock rlm_sql", 8, ratio(rounds[PORTICO], rounds[SQL_STOCK])),
        ]
    return Section(
        "auth",
        f"Access-Request, {len(users):,} services",
        tuple(targets),
        tuple(_titled(mode, rounds) for mode, rounds in results.items()),
        (
            "Portico writes the outcome of each request to its journal in every row; with its loader at work it also"
            " puts them into PostgreSQL as events meanwhile. The SQL baselines write each outcome to `radpostauth`."
            " The baselines' replies carry six attributes, Portico's also Message-Authenticator and an address list.",
            _faults(results),
        ),
    )


def _titled(mode: str, rounds: dict[str, list[Measured]]) -> Table:
    table = rounds_table(rounds, FILES)
    return Table((mode, *table.head[1:]), table.rows)


def _faults(results: dict[str, dict[str, list[Measured]]]) -> str:
    """Say how many requests were lost or answered wrongly, over everything that was measured."""
    loads = [measured.load for rounds in results.values() for several in rounds.values() for measured in several]
    lost, wrong = sum(load.lost for load in loads), sum(load.wrong + load.forged for load in loads)
    slowest = max(median(rounds[PORTICO_LOADING], lambda m: m.load.p99_ms) for rounds in results.values())
    return f"Lost requests: {lost}; wrong answers: {wrong}. Portico's p99 with its loader at work: {slowest:.1f} ms."
