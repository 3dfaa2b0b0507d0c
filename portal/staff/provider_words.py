"""What staff are told when a payment provider did not do what it was asked: silence, our keys, and a refusal differ."""

from flask_babel import gettext as _

from billing.gateways import ProviderTrouble, Trouble


def trouble_text(trouble: ProviderTrouble) -> str:
    """Return what happened and what to do. Nothing was done, whichever it is."""
    match trouble.trouble:
        case Trouble.UNREACHABLE:
            return str(_("The provider does not answer now, so nothing was done. Try again in a while."))
        case Trouble.KEY:
            return str(
                _(
                    "The provider does not know the keys that are stored here, so nothing was done. Enter them anew"
                    " under Settings › Online payments."
                )
            )
        case Trouble.REFUSED:
            return str(_("The provider refused it, and nothing was done: %(words)s", words=trouble.detail or "–"))
