"""Words for what happens around subscribers' own pages; `portal.labels` joins them to the others."""

from collections.abc import Mapping

from core.i18n import N_

ACTIONS: Mapping[str, str] = {
    "brand.change": N_("Brand changed"),
    "brand.logo": N_("Logo of the brand changed"),
    "self_service.change": N_("What subscribers may do changed"),
    "service.plan_request": N_("Another plan asked for"),
    "service.forget_device": N_("Device forgotten"),
    "subscriber.login": N_("First login sent"),
    "subscriber.password": N_("Subscriber chose a password"),
    "subscriber.sign_in": N_("Subscriber signed in"),
    "subscriber.look": N_("Looked at as the subscriber sees it"),
}
FIELDS: Mapping[str, str] = {
    "colour": N_("Colour"),
    "host": N_("Host name of your own"),
    "whatsapp": N_("WhatsApp number"),
    "terms": N_("Terms of use"),
    "send_logins": N_("Send the first login when a service becomes active"),
    "plan_change": N_("Change of plan"),
    "offered_plans": N_("Plans that are offered"),
    "may_boost": N_("Buy the boost that their plan offers"),
    "may_promise": N_("Promise to pay"),
    "may_pause": N_("Pause and resume"),
    "way": N_("How"),
    "sent_to": N_("Sent to"),
    "looked": N_("Looked"),
}
