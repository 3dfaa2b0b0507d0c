"""Their own pages are closed to who was removed, and open again, after signing in, to who was brought back."""

from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.undelete import bring_back, remove_subscriber
from db.audit import Actor
from db.models import Subscriber, SubscriberRemoval


def test_who_is_removed_is_out_and_gets_no_code_and_who_comes_back_signs_in_anew(ana):
    actor = Actor(ana.isp.operator_id, "test")
    assert ana.get().status_code == 200
    with Session(ana.system) as session:
        remove_subscriber(session, actor, session.get_one(Subscriber, ana.subscriber_id), "", utc_now())
        session.commit()
    mails = len(ana.mails("login.code"))
    assert "/sign-in" in ana.get().headers["Location"]
    ana.post("sign-in/code", email=ana.email)
    ana.post("recover", email=ana.email)
    assert (len(ana.mails("login.code")), ana.mails("login.recovery")) == (mails, [])
    with Session(ana.system) as session:
        bring_back(session, actor, session.get_one(SubscriberRemoval, ana.subscriber_id))
        session.commit()
    assert "/sign-in" in ana.get().headers["Location"]
    ana.sign_in()
    assert ana.get().status_code == 200
