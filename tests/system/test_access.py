"""Access-Requests to the real radiusd, answered from an image that the real publisher made."""

import pytest

from tests.system.conftest import Controller

pytestmark = pytest.mark.system


@pytest.mark.parametrize("method", ["pap", "chap"])
def test_subscriber_with_the_right_password_gets_the_plan(controller: Controller, method: str):
    controller.isp.service(f"ana-{method}", "secreto", framed_ip="10.9.8.7")
    controller.settle()
    answer = controller.client.login(f"ana-{method}", "secreto", method=method)
    assert answer.code == 2
    assert answer["Mikrotik-Rate-Limit"] == "5M/20M"
    assert answer["Framed-IP-Address"] == "10.9.8.7"
    assert "Message-Authenticator" in answer
