"""What can be wrong with what somebody entered, or with the moment of doing it.

Domain errors carry data; the portal turns them into sentences (portal.errors), a command line into a line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from enum import StrEnum


class Problem(StrEnum):
    """What is wrong with one field."""

    REQUIRED = "required"
    TOO_LONG = "too_long"  # detail: limit
    NAME_TOO_LONG = "name_too_long"  # over 253 octets of UTF-8 (RFC 2865 §5)
    NAME_CHARACTERS = "name_characters"
    ADDRESS_IN_NAME = "address_in_name"  # of a person who is greeted by it in a mail
    NAME_TAKEN = "name_taken"  # detail: subscriber, subscriber_id
    NOT_A_MAC = "not_a_mac"
    MAC_TAKEN = "mac_taken"  # detail: subscriber, subscriber_id
    NOT_AN_ADDRESS = "not_an_address"
    OWN_ADDRESS = "own_address"  # of the machine that Portico runs on
    NOT_IPV4 = "not_ipv4"
    ADDRESS_TAKEN = "address_taken"  # detail: subscriber, subscriber_id
    NOT_A_PREFIX = "not_a_prefix"
    HOST_BITS = "host_bits"  # detail: network
    NOT_A_NETWORK = "not_a_network"
    NOT_IN_NETWORK = "not_in_network"  # detail: network
    WRONG_ORDER = "wrong_order"  # the last is before the first
    OVERLAPS = "overlaps"  # detail: pool, network
    NO_ROOM_FOR_ALL = "no_room_for_all"  # of ports for each; detail: blocks, needed
    SUBSCRIBER_REMOVED = "subscriber_removed"
    VOUCHERS_STAND_ON_IT = "vouchers_stand_on_it"  # a subscriber whose services are vouchers
    TOO_MANY_RULES = "too_many_rules"  # for a router; detail: limit
    PLANNED_ALREADY = "planned_already"  # another plan of ports holds for it at that time
    NOT_A_ROUTE = "not_a_route"
    NOT_AN_EMAIL = "not_an_email"
    NOT_A_CHANNEL = "not_a_channel"  # no URL that apprise understands, or one that acts on this machine
    NOT_A_PHONE = "not_a_phone"
    NOT_A_POSITION = "not_a_position"
    NOT_POSITIVE = "not_positive"
    OUT_OF_RANGE = "out_of_range"  # detail: low, high
    BOTH_OR_NEITHER = "both_or_neither"
    UNKNOWN_PLAN = "unknown_plan"
    UNKNOWN_NAS = "unknown_nas"
    UNKNOWN_SECTOR = "unknown_sector"
    NOT_A_NUMBER = "not_a_number"
    NOT_A_DAY = "not_a_day"
    UNKNOWN_CHOICE = "unknown_choice"
    ATTRIBUTE = "attribute"  # detail: what crm.attributes found
    INSTALLED_ELSEWHERE = "installed_elsewhere"  # detail: subscriber
    SAME_AS_LINE = "same_as_line"  # of a list; detail: line
    SERIAL_OR_MAC = "serial_or_mac"
    NO_SERVICE = "no_service"
    DEVICE_MISSING = "device_missing"
    CUT_FOR_CAUSE = "cut_for_cause"  # for another cause than that staff said so
    WRONG_SPAN = "wrong_span"  # it ends before it begins, or lasts longer than anybody works
    UNKNOWN_VARIABLE_AT = "unknown_variable_at"  # of a text of several lines; detail: variable, line
    NOT_A_WEB_ADDRESS = "not_a_web_address"
    NOT_HTTPS = "not_https"
    NOT_A_PUBLIC_ADDRESS = "not_a_public_address"  # of the web: https, to a machine that anybody reaches
    NOT_JSON = "not_json"
    PLACES_MISSING = "places_missing"  # {phone} and {text} of what a gateway is sent
    NOT_A_PHONE_ID = "not_a_phone_id"  # WhatsApp's
    NOT_A_TEMPLATE = "not_a_template"  # WhatsApp's
    UNKNOWN_VARIABLE = "unknown_variable"  # of a text that is filled in; detail: variable
    TAKEN = "taken"  # another row of the operator has this value
    TOO_SHORT = "too_short"  # detail: limit
    EASY_TO_GUESS = "easy_to_guess"  # of a password; detail: reason, a text of crm.password_rules
    UNKNOWN_ZONE = "unknown_zone"
    UNKNOWN_ROLE = "unknown_role"
    MORE_THAN_OWN = "more_than_own"  # of roles: the actor could not have them
    LAST_MANAGER = "last_manager"  # nobody would be left who can sign in as manager
    NOT_THE_SAME = "not_the_same"
    NOT_ONESELF = "not_oneself"  # one does this for others
    NOT_A_SLUG = "not_a_slug"
    NOT_A_CODE = "not_a_code"  # of a coupon
    ONE_OF_BOTH = "one_of_both"
    NOT_A_COLOUR = "not_a_colour"
    NOT_A_HOST = "not_a_host"  # a name in the DNS
    WRONG_CODE = "wrong_code"  # sent by e-mail
    WRONG_APP_CODE = "wrong_app_code"  # of an authenticator app
    NO_SECOND_FACTOR = "no_second_factor"
    FACTOR_NEEDED = "factor_needed"  # by a role, and it is the last
    PASSKEY_REFUSED = "passkey_refused"
    SAME_PASSWORD = "same_password"  # noqa: S105 - as before
    LINK_SPENT = "link_spent"  # used, too old, or never one of ours
    NOT_OFFERED = "not_offered"  # the operator does not let subscribers do this
    NOT_A_KEY = "not_a_key"  # WireGuard's
    WRONG_PASSWORD = "wrong_password"  # noqa: S105
    AMOUNT_MISSING = "amount_missing"
    AMOUNT_UNREADABLE = "amount_unreadable"
    AMOUNT_AMBIGUOUS = "amount_ambiguous"  # separators of another country
    AMOUNT_NEGATIVE = "amount_negative"
    AMOUNT_ZERO = "amount_zero"
    AMOUNT_TOO_LARGE = "amount_too_large"
    AMOUNT_TOO_PRECISE = "amount_too_precise"
    AMOUNT_OVER = "amount_over"  # detail: most
    GONE_AT_PROVIDER = "gone_at_provider"
    WRONG_CURRENCY = "wrong_currency"  # detail: expected
    NOT_A_CURRENCY = "not_a_currency"  # or the one of the books, or one that is not switched on
    CURRENCY_IN_USE = "currency_in_use"  # by a plan's price, or by cash that is there
    NOT_A_RATE = "not_a_rate"  # of exchange
    NO_RATE = "no_rate"  # detail: currency, day
    RATE_TOO_OLD = "rate_too_old"  # detail: currency, day, days
    CHANGE_OF_CASH = "change_of_cash"  # change where no cash of another currency came in
    NOT_SO_MUCH_CASH = "not_so_much_cash"  # detail: most
    BAD_LINE = "bad_line"  # of a file; detail: line
    IN_THE_FUTURE = "in_the_future"
    TOO_LONG_AGO = "too_long_ago"
    TOO_FAR_AHEAD = "too_far_ahead"  # detail: latest
    UNKNOWN_METHOD = "unknown_method"
    UNKNOWN_COLLECTOR = "unknown_collector"
    DESK_CLOSED = "desk_closed"
    DESK_OPEN = "desk_open"
    LIMIT_REACHED = "limit_reached"  # detail: limit
    LICENCE_FULL = "licence_full"  # no places for so many subscribers more; detail: limit
    HAS_RESELLERS = "has_resellers"  # an operator that is to be removed
    NOT_A_TAX_ID = "not_a_tax_id"  # detail: name, example
    ALREADY_DONE = "already_done"
    NOT_A_PICTURE = "not_a_picture"  # neither PNG nor JPEG, or a broken one
    PICTURE_TOO_LARGE = "picture_too_large"
    FILE_TOO_LARGE = "file_too_large"  # detail: limit, in MB
    FILE_NOT_TAKEN = "file_not_taken"  # of a kind that is not taken, whatever its name says
    TOO_MANY_PIXELS = "too_many_pixels"
    NOT_HOURS = "not_hours"  # spans of a day, such as 09:00-18:00
    NOT_MERGEABLE = "not_mergeable"  # a ticket that another cannot become part of
    QUEUES_STAY = "queues_stay"  # static addresses, which are queues on some router
    PASSWORD_AGAIN = "password_again"  # noqa: S105 - it would be sent elsewhere than it was entered for
    ROUTER_PASSWORD = "router_password"  # noqa: S105 - the same, and it is entered on another page


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One problem of one field."""

    field: str
    problem: Problem
    detail: Mapping[str, str] = dataclass_field(default_factory=dict)


class Invalid(Exception):
    """What was entered cannot be taken over; nothing was changed."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.problem}" for problem in problems))
        self.problems = problems


class ChangedMeanwhile(Exception):
    """Somebody else changed the row since it was shown."""


class WrongState(Exception):
    """The service's state does not allow the step: `state` is what it is, `step` what was asked."""

    def __init__(self, state: str, step: str) -> None:
        super().__init__(f"cannot {step} a service that is {state}")
        self.state = state
        self.step = step
