"""CSV files of other programs, told by their titles: where a title means something else than it seems to.

Most titles mean what they say, whoever wrote them (`csv_file`). Here is what does not: in a client list of UISP CRM
`State` is a province and `Username` the login to its customers' pages, and in a user list of Mikhmon everybody belongs
to a hotspot. A file is told by several titles that only one program uses, so one that somebody has shortened is too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aaa.facts import AccessMethod


@dataclass(frozen=True, slots=True)
class Preset:
    """A program's file, told by at least `enough` of its `marks`. Titles stand as `csv_file.plain_title` writes them.

    `meanings` overrule what a title would be taken for; "" is nothing.
    """

    program: str
    marks: frozenset[str]
    enough: int
    meanings: Mapping[str, str]
    access_method: AccessMethod | None = None


PRESETS = (
    Preset(
        "Mikhmon",
        frozenset({"username", "password", "profile", "timelimit", "datalimit"}),
        5,
        {"username": "login", "profile": "plan", "comment": "comment", "timelimit": "", "datalimit": ""},
        AccessMethod.HOTSPOT,
    ),
    Preset(
        "UISP CRM",
        frozenset({
            "customid", "companyname", "islead", "clientlatitude", "clientlongitude", "companyregistrationnumber",
            "companytaxid", "companywebsite", "emailprimary", "phoneprimary", "namefirstandlastseparatedbyspace",
            "invoicestreet", "invoicecity", "registrationdate", "clientnote", "serviceplan", "serviceactivefrom",
            "serviceinvoicingfrom", "serviceindividualprice", "serviceperiodinmonths", "servicenote",
        }),
        3,
        {
            # A company's name goes before that of the person; who is none has an empty one.
            "name": "first_name", "namefirstandlastseparatedbyspace": "name", "companyname": "name", "username": "",
            "state": "", "companyregistrationnumber": "", "companytaxid": "tax_id", "clientlatitude": "latitude",
            "clientlongitude": "longitude", "emailprimary": "email", "phoneprimary": "phone", "clientnote": "comment",
            "service": "plan", "serviceplan": "plan", "servicenote": "", "servicelatitude": "", "servicelongitude": "",
        },
    ),
    Preset(
        "Splynx",
        frozenset({
            "portallogin", "billingtype", "billingemail", "partner", "partnerid", "location", "locationid", "tariffid",
            "internettariffs", "dateadd", "lastonline", "lastupdate", "street1", "ipranges", "accessdevice", "mrrtotal",
            "takingipv4", "ipv4route", "servingstatus",
        }),
        3,
        {
            "portallogin": "login", "fullname": "name", "name": "name", "internettariffs": "plan", "tariff": "plan",
            "tariffid": "", "location": "", "ipranges": "framed_ip", "ipv4": "framed_ip", "billingemail": "",
            "street1": "address", "gps": "position", "status": "state", "state": "",
        },
    ),
)  # fmt: skip


def preset_of(titles: Sequence[str]) -> Preset | None:
    """Return the program whose file has these titles, or None."""
    known = frozenset(titles)
    return next((preset for preset in PRESETS if len(preset.marks & known) >= preset.enough), None)
