"""The examples of docs/api.md do what it says, sent by curl to a portal that listens."""

import os
import re
import subprocess
from pathlib import Path

from tests.portal.api.conftest import make_token
from tests.portal.billing_isp import bill, billed_line, start_billing
from tests.portal.online import listening

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_examples_of_the_documentation_work(app, system, installation, isp):
    methods = start_billing(system, isp)
    subscriber, service = billed_line(system, installation, isp, "Ana", 5)
    bill(system, isp)
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))
    commands = commands.replace("curl -sS", "curl -sS --fail-with-body -w '\\n%{http_code}\\n'")
    with listening(app) as address:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env={
                "PATH": os.environ["PATH"],
                "PORTICO": f"{address}/api/v1",
                "TOKEN": make_token(system, installation, isp)[1],
                "SUBSCRIBER": str(subscriber),
                "SERVICE": str(service),
                "METHOD": str(methods["Cash"]),
                "PLAN": str(isp.plan_id),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    statuses = re.findall(r"^(\d{3})$", ran.stdout, re.MULTILINE)
    assert len(statuses) == commands.count("curl ") - 1  # the one that is asked for its headers alone
    assert statuses.count("201") == 4
    assert '"phone":"+52 55 1234 5678"' in ran.stdout
    assert '"whole":true' in ran.stdout
