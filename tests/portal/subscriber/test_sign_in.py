"""How subscribers get in, and who does not."""


def test_a_code_by_email_lets_in(ana):
    page = ana.get()
    assert page.status_code == 200
    assert "Ana Peña" in page.text
