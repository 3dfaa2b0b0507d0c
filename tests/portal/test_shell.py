from tests.portal.conftest import add_subscriber


def test_staff_sign_in_and_see_the_subscribers(sign_in, isp, system):
    add_subscriber(system, isp, "José María Fernández-Villalobos de la Torre", phone="+52 55 1234 5678")
    page = sign_in("support").get("/subscribers/")
    assert page.status_code == 200
    assert "José María Fernández-Villalobos de la Torre" in page.text
