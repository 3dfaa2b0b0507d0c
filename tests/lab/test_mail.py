"""The demo's mail server takes mail over SMTP and shows it to a person, whatever stands in it."""

import smtplib
from email.message import EmailMessage
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from lab.mail import Mailbox


def mail(subject: str, body: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "portico@localhost", "inés@isp.example", subject
    made.set_content(body)
    return made


def test_a_mail_is_read_in_the_browser_and_its_link_can_be_clicked():
    with Mailbox() as box:
        with smtplib.SMTP("127.0.0.1", box.port, timeout=5) as smtp:
            letter = mail(
                "Confirme su correo <b>", "Abra http://127.0.0.1:8080/sign-up/x_y-z\n<script>alert(1)</script>"
            )
            smtp.sendmail("portico@localhost", ["ines@isp.example"], letter.as_bytes())
        with urlopen(box.url, timeout=5) as answer:
            page = answer.read().decode()
        assert box.mails[0].recipients == ("ines@isp.example",)
    assert '<a href="http://127.0.0.1:8080/sign-up/x_y-z">' in page
    assert "Confirme su correo &lt;b&gt;" in page
    assert "<script>" not in page


def test_the_page_speaks_the_language_of_the_browser():
    with Mailbox() as box:
        for language, said in (("es-MX,es;q=0.9", "Correo de la demo"), ("en-US", "Mail of the demo")):
            with urlopen(Request(box.url, headers={"Accept-Language": language}), timeout=5) as answer:
                assert f"<h1>{said}</h1>" in answer.read().decode()


def test_what_is_attached_can_be_taken_out():
    letter = mail("Reporte", "Va adjunto.")
    letter.add_attachment(b"%PDF-\xff", maintype="application", subtype="pdf", filename="año <b>.pdf")
    with Mailbox() as box:
        with smtplib.SMTP("127.0.0.1", box.port, timeout=5) as smtp:
            smtp.sendmail("portico@localhost", ["ines@isp.example"], letter.as_bytes())
        with urlopen(box.url, timeout=5) as answer:
            page = answer.read().decode()
        assert "<a href='/1/0'>año &lt;b&gt;.pdf</a> (6 octets)" in page
        with urlopen(f"{box.url}1/0", timeout=5) as answer:
            assert (answer.read(), answer.headers["Content-Type"]) == (b"%PDF-\xff", "application/pdf")
            assert answer.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''a%C3%B1o")
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{box.url}1/7", timeout=5)


def test_a_server_that_says_later_is_played_too():
    with Mailbox() as box:
        box.refuses = "451 4.3.0 later"
        with smtplib.SMTP("127.0.0.1", box.port, timeout=5) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail("portico@localhost", ["a@isp.example"], mail("a", "b").as_bytes())
        assert not box.mails
