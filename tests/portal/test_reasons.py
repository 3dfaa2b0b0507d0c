import string

import pytest

from aaa.authorize import RULES
from aaa.decision import Reason
from core.i18n import LANGUAGES
from portal.reasons import OF_THE_PACKET, PASSED, REASONS, SHORT, event_sentence, reason_sentence, volume
from portal.staff.explain import REMEDIES

DETAIL = {"since": "2026-04-05", "detail": "invoice 1041", "nas": "Torre Norte", "mac": "aa:bb:cc:dd:ee:ff",
          "limit": "1", "cap": "50000000000"}  # fmt: skip


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_has_a_sentence_and_a_short_form(reason, language):
    sentence = reason_sentence(reason, DETAIL, language)
    assert sentence
    assert "%" not in sentence
    assert reason in SHORT


@pytest.mark.parametrize("reason", Reason)
def test_an_event_that_tells_no_particulars_is_said_shortly(reason):
    sentence = reason_sentence(reason, {}, "en")
    assert sentence == (SHORT[reason] if "%(" in REASONS[reason] else REASONS[reason])


def test_every_rule_that_may_say_something_is_a_rule():
    rules = {rule.__name__ for rule in RULES} | {"registered"}
    assert rules >= set(PASSED)
    assert rules >= OF_THE_PACKET


def test_every_reason_that_a_person_can_change_has_a_remedy():
    nothing_to_press = {
        Reason.UNKNOWN_SUBSCRIBER,  # registering is offered beside it
        Reason.MAC_NOT_REGISTERED,
        Reason.OPERATOR_SUSPENDED,
        Reason.NOT_VIA_RADIUS,
        Reason.TERMINATED,
        Reason.TIME_WINDOW,
        Reason.VOLUME_USED_UP,
        Reason.TIME_USED_UP,  # a voucher ends as it was bought
        Reason.CODE_EXPIRED,
        Reason.CODE_IN_USE,
        Reason.CODE_VOID,
        Reason.BOOSTED,  # it ends by itself
        Reason.OUT_OF_DATE,  # its cure is a server with news
    }
    assert set(Reason) - set(REMEDIES) == nothing_to_press


def test_days_and_volumes_are_written_as_the_reader_writes_them():
    assert reason_sentence(Reason.OVERDUE, DETAIL, "en").startswith(
        "Not paid: paid time and grace ended on Apr 5, 2026"
    )
    assert "50 GB" in reason_sentence(Reason.CAP_REACHED, {"cap": "50000000000"}, "en")
    assert volume(1_536_000_000, "es") == "1,54 GB"


def test_text_of_the_help_desk_is_not_taken_for_a_format():
    assert reason_sentence(Reason.SUSPENDED_BY_STAFF, {"since": "2026-04-05", "detail": "100 %(nas)s"}, "en").endswith(
        "(100 %(nas)s)"
    )


def test_an_outcome_of_another_version_is_shown_as_it_is():
    assert event_sentence("challenge", None, {}, "en") == "challenge"


def test_sentences_use_only_particulars_that_exist():
    for text in REASONS.values():
        named = {name for _, name, _, _ in string.Formatter().parse(text.replace("%(", "{").replace(")s", "}")) if name}
        assert named <= set(DETAIL)
