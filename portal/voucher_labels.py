"""Words and badges of vouchers; `portal.labels` joins them to the others."""

from collections.abc import Mapping

from core.i18n import N_

# Word, colour and icon of each state.
BADGES: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "voucher_state": {
        "stock": (N_("In stock"), "secondary", "package"),
        "unused": (N_("Unused"), "blue", "ticket"),
        "active": (N_("In use"), "green", "wifi"),
        "used_up": (N_("Used up"), "orange", "hourglass-empty"),
        "expired": (N_("Expired"), "dark", "clock-off"),
        "void": (N_("Cancelled"), "red", "circle-x"),
    },
}

LABELS: Mapping[str, Mapping[str, str]] = {
    "voucher_activation": {
        "sale": N_("When each is sold here"),
        "print": N_("When the cards are printed"),
        "now": N_("At once"),
    },
    "voucher_template": {
        "cards": N_("Cards with a code to scan"),
        "strips": N_("Strips with the code alone"),
        "ticket": N_("Tickets of 80 mm"),
    },
}

ACTIONS: Mapping[str, str] = {
    "voucher_batch.create": N_("Vouchers made"),
    "voucher_batch.assign": N_("Vouchers given to a seller"),
    "voucher_batch.activate": N_("Vouchers activated"),
    "voucher_batch.print": N_("Vouchers printed"),
    "voucher_batch.export": N_("Voucher codes exported"),
    "voucher_batch.reveal": N_("Voucher code shown"),
    "voucher_batch.void": N_("Batch of vouchers cancelled"),
    "voucher.void": N_("Voucher cancelled"),
    "voucher.pass": N_("Guest on line for some minutes to pay"),
    "voucher.sell": N_("Voucher sold"),
}
