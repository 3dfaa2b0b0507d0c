"""Messages in this browser, turned on and off by the subscriber (crm.push)."""

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from wtforms import HiddenField

from crm.login_sessions import device_words
from crm.problems import Invalid
from crm.push import browsers_of, public_key, read_subscription, sign_off, sign_up
from db.models import PushBrowser
from portal import context
from portal.auth import limiter
from portal.forms import Form
from portal.messages import done, refuse
from portal.permissions import for_subscribers
from portal.subscriber import frame
from portal.subscriber.frame import actor, blueprint, db, me, one_of_mine, operator


class BrowserForm(Form):
    """What the browser's own question comes to; filled in by `my-push.js`."""

    endpoint = HiddenField()
    p256dh = HiddenField()
    auth = HiddenField()


def push_card() -> dict[str, object]:
    """Return what the account's page says about browsers; nothing for staff, whose browser it would be."""
    if frame.looked_at_by() is not None:
        return {"push_key": "", "browsers": []}
    key = public_key(db(), context.keyring(), operator().id)
    db().commit()  # the first who asks has made it
    return {"push_key": key, "browsers": browsers_of(db(), me()), "push": BrowserForm(formdata=None)}


@blueprint.post("/<slug>/account/push")
@for_subscribers
@limiter.limit("10 per minute; 50 per day", key_func=lambda: f"{operator().id}:{me().id}:push")
def push_on() -> ResponseReturnValue:
    form = BrowserForm()
    response: Response = redirect(url_for(".account"))  # type: ignore[assignment]
    browser, system = device_words(request.user_agent.string)
    name = " · ".join(each for each in (browser, system) if each)
    if form.validate():
        local = context.portal().settings.local_gateways
        try:
            found = read_subscription(
                form.endpoint.data or "", form.p256dh.data or "", form.auth.data or "", local=local
            )
        except Invalid:
            refuse(_("This browser gave no address that messages could be sent to. Try another one."))
        else:
            kept = sign_up(db(), context.keyring(), actor(), me(), found, name)
            db().commit()
            frame.remember_told(response, kept)
            done(_("Messages come to this browser from now on."))
    return response


@blueprint.post("/<slug>/account/push/<int:browser_id>/off")
@for_subscribers
def push_off(browser_id: int) -> ResponseReturnValue:
    sign_off(db(), actor(), one_of_mine(PushBrowser, browser_id))
    db().commit()
    done(_("Nothing more is sent to that browser."))
    return redirect(url_for(".account"))
