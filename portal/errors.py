"""Errors as people read them: what happened, what it means, what to do.

Domain errors carry data; here they become sentences. Error pages never show a stack trace.
"""

from collections.abc import Mapping

import structlog
from flask import Flask, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException

from core.i18n import N_
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from portal.forms import Form
from portal.labels import label

log = structlog.get_logger()

TEXTS: Mapping[Problem, str] = {
    Problem.REQUIRED: N_("This is needed."),
    Problem.TOO_LONG: N_("This is too long: at most %(limit)s characters."),
    Problem.TOO_SHORT: N_("This is too short: at least %(limit)s characters."),
    Problem.EASY_TO_GUESS: N_("This password is too easy to guess. %(reason)s"),
    Problem.NAME_TOO_LONG: N_("This name is too long for RADIUS: at most 253 bytes, and an accented letter takes two."),
    Problem.NAME_CHARACTERS: N_("Leave out line breaks, and blanks at the beginning and end."),
    Problem.ADDRESS_IN_NAME: N_("Write your name alone, without addresses or links."),
    Problem.NAME_TAKEN: N_("This name belongs to %(subscriber)s already. Choose another, or end that service first."),
    Problem.NOT_A_MAC: N_("This is not a MAC address. Twelve digits 0–9, a–f are needed, such as 4c:5e:0c:12:34:56."),
    Problem.MAC_TAKEN: N_("This MAC address belongs to %(subscriber)s already."),
    Problem.NOT_AN_ADDRESS: N_("This is not an IP address, such as 10.20.0.15."),
    Problem.OWN_ADDRESS: N_("This is an address of the server itself, where no router can be."),
    Problem.NOT_IPV4: N_("An IPv4 address is needed here, such as 10.20.0.15."),
    Problem.ADDRESS_TAKEN: N_("This address belongs to %(subscriber)s already."),
    Problem.NOT_A_PREFIX: N_("This is not an IPv6 prefix, such as 2001:db8:12::/56."),
    Problem.HOST_BITS: N_("This prefix has bits behind its length. Did you mean %(network)s?"),
    Problem.NOT_A_NETWORK: N_("This is not a network of that kind, such as 10.20.0.0/24 or 2001:db8:1000::/40."),
    Problem.NOT_IN_NETWORK: N_("This address is not in %(network)s."),
    Problem.WRONG_ORDER: N_("The last address comes before the first."),
    Problem.OVERLAPS: N_("It overlaps with %(network)s of the pool %(pool)s."),
    Problem.NO_ROOM_FOR_ALL: N_(
        "The public addresses have %(blocks)s blocks of so many ports, and %(needed)s private addresses need one each."
        " Give fewer ports to each, more public addresses, or a smaller network."
    ),
    Problem.SUBSCRIBER_REMOVED: N_("This subscriber was removed. Bring the subscriber back first."),
    Problem.VOUCHERS_STAND_ON_IT: N_("Vouchers stand on this subscriber, who cannot be removed."),
    Problem.TOO_MANY_RULES: N_(
        "A router should not hold rules for more than %(limit)s subscribers. Make several plans, for several routers."
    ),
    Problem.PLANNED_ALREADY: N_("Another plan holds for some of these addresses at the time."),
    Problem.NOT_A_ROUTE: N_("This is not a route. Write one network a line, such as 192.168.50.0/24."),
    Problem.NOT_AN_EMAIL: N_("This is not an e-mail address, such as ana@example.com."),
    Problem.NOT_A_CHANNEL: N_("This is not the address of a channel, such as tgram://bottoken/ChatID."),
    Problem.NOT_A_PHONE: N_("This is not a phone number. Digits, blanks and a + in front are fine."),
    Problem.NOT_A_POSITION: N_("Latitude goes from -90 to 90, longitude from -180 to 180."),
    Problem.NOT_POSITIVE: N_("A number above zero is needed."),
    Problem.OUT_OF_RANGE: N_("A number from %(low)s to %(high)s is needed."),
    Problem.BOTH_OR_NEITHER: N_("Enter both of the pair, or neither."),
    Problem.UNKNOWN_PLAN: N_("This rate plan does not exist or is archived. Choose another."),
    Problem.UNKNOWN_NAS: N_("This NAS does not exist any more. Choose another."),
    Problem.UNKNOWN_SECTOR: N_("This sector does not exist any more. Choose another."),
    Problem.NOT_A_NUMBER: N_("Enter a number."),
    Problem.NOT_A_DAY: N_("Enter a date, such as 2027-04-30."),
    Problem.UNKNOWN_CHOICE: N_("Choose one of the list."),
    Problem.ATTRIBUTE: "%(name)s: %(flaw)s",
    Problem.INSTALLED_ELSEWHERE: N_("This device is installed at %(subscriber)s. Take it back there first."),
    Problem.SAME_AS_LINE: N_("It stands in line %(line)s already."),
    Problem.SERIAL_OR_MAC: N_("Enter a serial number or a MAC address."),
    Problem.NO_SERVICE: N_("There is no service that a device could be tied to."),
    Problem.DEVICE_MISSING: N_("Its device is not known yet. Bind the device first."),
    Problem.CUT_FOR_CAUSE: N_("It is cut off for another cause than by staff. Settle that, or restore it."),
    Problem.WRONG_SPAN: N_("The end must come after the beginning, and not weeks later."),
    Problem.UNKNOWN_VARIABLE_AT: N_(
        "Line %(line)s: %(variable)s is none of the variables listed below. Braces stand around them only."
    ),
    Problem.NOT_A_PUBLIC_ADDRESS: N_(
        "This is no address that webhooks may go to: https, and a machine in the Internet."
    ),
    Problem.NOT_HTTPS: N_(
        "It must begin with https, or phone numbers, messages and the key could be read on the way. http is taken only"
        " of numeric addresses in networks that the platform allows."
    ),
    Problem.NOT_A_WEB_ADDRESS: N_("This is not an address of the web, such as https://sms.example.com/send."),
    Problem.NOT_JSON: N_("This is not JSON, once {phone} and {text} are filled in."),
    Problem.PLACES_MISSING: N_("{phone} and {text} must stand in it: the number and the message are put there."),
    Problem.NOT_A_PHONE_ID: N_("This is not the id of a phone number: Meta shows it as a row of digits."),
    Problem.NOT_A_TEMPLATE: N_("This is not the name of a template: small letters, digits and underscores."),
    Problem.UNKNOWN_VARIABLE: N_("%(variable)s is none of the variables listed below. Braces stand around them only."),
    Problem.TAKEN: N_("This is in use already. Choose another."),
    Problem.UNKNOWN_ZONE: N_("This is not a time zone, such as America/Mexico_City."),
    Problem.UNKNOWN_ROLE: N_("Choose at least one role."),
    Problem.MORE_THAN_OWN: N_("One of these roles may do more than you. Only a manager can give or change it."),
    Problem.LAST_MANAGER: N_(
        "This is the only manager who can sign in. Make somebody else a manager first, who has signed in once."
    ),
    Problem.NOT_THE_SAME: N_("The two are not the same. Type the new password twice."),
    Problem.NOT_ONESELF: N_("You do this for others; your own is under your account."),
    Problem.NOT_A_CODE: N_("Three to 32 letters, digits and dashes are needed, such as SUMMER-27."),
    Problem.ONE_OF_BOTH: N_("Enter a percentage or an amount, one of the two."),
    Problem.NOT_A_COLOUR: N_("This is not a colour, such as #0f6e84."),
    Problem.NOT_A_HOST: N_("This is not a host name, such as my.valle.example."),
    Problem.WRONG_CODE: N_("This code is wrong or no longer good. Check the digits, or ask for a new one."),
    Problem.WRONG_APP_CODE: N_(
        "This is not the app's present code. Wait for the next; if none works, set the phone's clock by the network."
    ),
    Problem.NO_SECOND_FACTOR: N_("Set up an app or a passkey first."),
    Problem.FACTOR_NEEDED: N_("Your role needs a second factor. Set up another one before you remove this."),
    Problem.PASSKEY_REFUSED: N_("That did not work. Try again, and confirm within a minute."),
    Problem.SAME_PASSWORD: N_("This is the password that you have. Choose another."),
    Problem.LINK_SPENT: N_("This link was used already or is too old. Ask for a new one."),
    Problem.NOT_OFFERED: N_("Your provider does not offer this here. Get in touch instead."),
    Problem.NOT_A_KEY: N_("This is not a WireGuard key. It has 44 characters and ends with =."),
    Problem.NOT_A_SLUG: N_("Small letters, digits and dashes are needed here, such as valle-net."),
    Problem.QUEUES_STAY: N_(
        "Some of them have a static address, which a router must keep. Choose the one they move to."
    ),
    Problem.PASSWORD_AGAIN: N_(
        "Enter the password again: address, port or TLS has changed, and it would be sent somewhere else."
    ),
    Problem.ROUTER_PASSWORD: N_(
        "The password of this router's API would be sent to the new address. Change it where the password can be"
        " entered again: edit the router."
    ),
    Problem.NOT_A_PICTURE: N_("This is not a PNG or JPEG picture, or it is damaged."),
    Problem.PICTURE_TOO_LARGE: N_("This picture is too large: at most 2 MB and 16 megapixels."),
    Problem.FILE_TOO_LARGE: N_("This file is too large: at most %(limit)s MB."),
    Problem.FILE_NOT_TAKEN: N_(
        "This kind of file is not taken. Pictures (JPEG, PNG), PDF, plain text and office files without macros are."
    ),
    Problem.TOO_MANY_PIXELS: N_("This picture has too many pixels. Make it smaller and try again."),
    Problem.NOT_HOURS: N_("These are not hours of a day, such as 09:00-13:00, 15:00-19:00. Leave free days empty."),
    Problem.NOT_MERGEABLE: N_("Only another open ticket of the same subscriber will do."),
    Problem.WRONG_PASSWORD: N_("This is not your present password."),
    Problem.AMOUNT_MISSING: N_("Enter an amount."),
    Problem.AMOUNT_UNREADABLE: N_("This is not an amount of money."),
    Problem.AMOUNT_AMBIGUOUS: N_("It is not clear which sign separates the decimals. Write 1234.56."),
    Problem.AMOUNT_NEGATIVE: N_("The amount must be above zero. To give money back, refund or void the payment."),
    Problem.AMOUNT_ZERO: N_("The amount must be above zero."),
    Problem.AMOUNT_TOO_LARGE: N_("This is more than anybody pays. Check the digits."),
    Problem.AMOUNT_TOO_PRECISE: N_("The currency does not have that many decimals."),
    Problem.AMOUNT_OVER: N_("At most %(most)s is possible here."),
    Problem.GONE_AT_PROVIDER: N_(
        "The provider has this payment no longer: it was given back there, or the bank took it back. Close it with a"
        " note."
    ),
    Problem.WRONG_CURRENCY: N_("The amount must be in %(expected)s."),
    Problem.NOT_A_CURRENCY: N_("This currency is not one of those that you take beside your own."),
    Problem.CURRENCY_IN_USE: N_("A plan is priced in it, or there is cash of it. Change that first."),
    Problem.NOT_A_RATE: N_("This is not an exchange rate. Write it such as 17.25."),
    Problem.NO_RATE: N_("There is no exchange rate of %(currency)s for %(day)s. Enter it under Currencies."),
    Problem.RATE_TOO_OLD: N_(
        "The last exchange rate of %(currency)s is of %(day)s, and one is good for %(days)s days. Enter today's"
        " under Currencies."
    ),
    Problem.CHANGE_OF_CASH: N_("Change is given only where cash of another currency was taken."),
    Problem.NOT_SO_MUCH_CASH: N_("Only %(most)s are there. If there is more, book it as added to the cash desk first."),
    Problem.BAD_LINE: N_("Line %(line)s cannot be read. It needs a date such as 2027-04-30, a currency and a rate."),
    Problem.IN_THE_FUTURE: N_("This day is still to come."),
    Problem.TOO_LONG_AGO: N_("This day is too long ago. Check the year."),
    Problem.TOO_FAR_AHEAD: N_("The latest day possible is %(latest)s."),
    Problem.UNKNOWN_METHOD: N_("This way to pay does not exist or is not used any more. Choose another."),
    Problem.UNKNOWN_COLLECTOR: N_("This collector does not exist or is not active. Choose another."),
    Problem.DESK_CLOSED: N_("Your cash desk is closed. Open it before you take cash."),
    Problem.DESK_OPEN: N_("Your cash desk is open already."),
    Problem.LICENCE_FULL: N_(
        "Your licence has places for %(limit)s subscribers, and they are taken. The page Licence says how to go on."
    ),
    Problem.HAS_RESELLERS: N_("It has resellers. They have to be removed first."),
    Problem.NOT_A_TAX_ID: N_("This cannot be a %(name)s; one looks like %(example)s."),
    Problem.LIMIT_REACHED: N_("The limit of %(limit)s is reached."),
    Problem.ALREADY_DONE: N_("This was done already."),
}


def problem_text(problem: FieldProblem) -> str:
    """Return the sentence for one problem of one field."""
    detail = dict(problem.detail)
    if problem.problem is Problem.ATTRIBUTE:
        flaw = detail["flaw"]
        detail["flaw"] = str(_(flaw))
        return TEXTS[problem.problem] % detail
    if problem.problem is Problem.EASY_TO_GUESS:
        reason = detail["reason"]
        detail["reason"] = str(_(reason))
    return str(_(TEXTS[problem.problem], **detail))


def put_on_form(form: Form, invalid: Invalid) -> None:
    """Put each problem beside its field; one of a field that the form does not show goes on top."""
    for problem in invalid.problems:
        if problem.field in form:
            named = form[problem.field]
            named.errors = [*named.errors, problem_text(problem)]
        else:
            form.form_errors.append(problem_text(problem))


def wrong_state_text(problem: WrongState) -> str:
    state = label("service_state", problem.state).lower()
    return str(_("Nothing was changed: this service is %(state)s. Look at it again before you go on.", state=state))


def http_error(problem: HTTPException) -> ResponseReturnValue:
    """Return the page that says what went wrong."""
    code = problem.code or 500
    if problem.response is not None or code < 400:
        return problem.get_response()
    return render_template("errors/error.html", code=code), code


def _csrf_error(_problem: CSRFError) -> ResponseReturnValue:
    return render_template("errors/error.html", code="csrf"), 400


def _database_error(problem: OperationalError | InterfaceError) -> ResponseReturnValue:
    """The database is away. Subscribers still connect: radiusd does not ask it."""
    log.error("database_unreachable", path=request.path, error=type(problem.orig).__name__)
    g.staff = None  # what is known of the person would have to be asked of the database
    return render_template("errors/database.html"), 503


def _unexpected(problem: Exception) -> ResponseReturnValue:
    log.exception("request_failed", path=request.path, error=type(problem).__name__)
    return render_template("errors/error.html", code=500), 500


def install(app: Flask) -> None:
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(OperationalError, _database_error)
    app.register_error_handler(InterfaceError, _database_error)
    if not app.testing:
        app.register_error_handler(Exception, _unexpected)
