"""The return after a power cut: everybody behind every NAS dials at once."""

import json
import subprocess
import sys
from contextlib import ExitStack

from bench.generator import SECRET, write_users
from bench.machine import busy_seconds
from bench.portico import first_login, portico
from bench.report import Section, Table, Target
from bench.sections import Options
from bench.site import open_site
from lab.storm import Storm, nas_address


def measure(options: Options) -> Section:
    """Let the lab's storm loose on Portico: 50,000 subscribers behind 50 NAS, one session allowed to each."""
    storm = Storm(subscribers=options.scaled(50_000, 1_000), nas=options.scaled(50, 5), secret=SECRET)
    users = [(storm.name.format(n=number), storm.password.format(n=number)) for number in range(storm.subscribers)]
    nas = [(nas_address(storm, number), 3799) for number in range(storm.nas)]
    with open_site() as site, ExitStack() as stack:
        users_file = write_users(site.directory / "users.csv", users[:1])
        ours = stack.enter_context(portico(site, users, [*nas, ("127.0.0.1", 3799)], session_limit=1))
        first_login(ours, users_file)
        busy = busy_seconds()
        command = [sys.executable, "-m", "lab", "storm", "--subscribers", str(storm.subscribers)]
        command += ["--nas", str(storm.nas), "--secret", SECRET]
        command += ["--auth-port", str(site.settings.auth_port), "--acct-port", str(site.settings.acct_port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        busy = busy_seconds() - busy
        report = json.loads(done.stdout)
    connected, returned = report["connected"], report["returned"]
    rows = tuple(
        (label, *(f"{phase[key]:,}" for key in _COLUMNS))
        for label, phase in (("first login", connected), ("return", returned))
    )
    return Section(
        "storm",
        f"Storm, {storm.subscribers:,} subscribers behind {storm.nas} NAS",
        (
            Target(
                "all are back, none rejected wrongly",
                f"{storm.subscribers:,} and 0",
                f"{returned['online']:,} and {returned['rejected']:,}",
                returned["online"] == storm.subscribers and not returned["rejected"],
            ),
        ),
        (Table(("", *(column.replace("_", " ") for column in _COLUMNS)), rows),),
        (
            f"CHAP; the CPEs begin to dial within {storm.spread:g} s, {storm.logins_at_once} at a time on each NAS,"
            " each with an Access-Request and an Accounting Start. Each service may have one session, and those"
            " that the power cut ended without a Stop must not stand in the way. Answer times are seconds from"
            " the first sending. The emulated network runs on the same cores; all together used"
            f" {busy:.0f} s of processor time.",
        ),
    )


_COLUMNS = (
    "online",
    "seconds",
    "logins_per_second",
    "answer_p50",
    "answer_p99",
    "answer_max",
    "rejected",
    "retransmissions",
    "unanswered",
    "accounting_forgotten",
)
