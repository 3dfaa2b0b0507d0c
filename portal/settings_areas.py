"""What the page of settings shows: each in its group, with a sentence that says what it decides.

A page of settings belongs to the area *Settings* of `portal.navigation`, which says where it is and who may open it.
"""

from collections.abc import Mapping

from core.i18n import N_

GROUPS: Mapping[str, Mapping[str, str]] = {
    N_("Your company"): {
        "first_steps.index": N_("The way to the first subscriber online, ticked off by what is there."),
        "licence.index": N_("How many subscribers fit, until when, and who to talk to about more."),
        "resellers.index": N_("Those who sell your plans on: their accounts, prices and monthly statements."),
        "brand.index": N_("Logo, colours, phone and address of the portal that subscribers see."),
        "documents.letterhead": N_("What invoices and receipts say about you: name, fiscal data, logo."),
    },
    N_("Money"): {
        "billing_settings.index": N_("When services are billed, taxes, series of numbers, late fees, ways to pay."),
        "currencies.index": N_("Other currencies to be paid in and to price plans in, and their daily rates."),
        "gateways.index": N_("Keys of the providers that take card payments for you."),
        "einvoices.account": N_("The provider that hands invoices to the tax authority."),
    },
    N_("Subscribers and service"): {
        "policy.index": N_("When service ends for who does not pay, and what they see meanwhile."),
        "captive_settings.index": N_("The login page of hotspots: vouchers, trial, terms, devices remembered."),
        "records.fields_page": N_("What you want to know of subscribers that nobody else asks."),
        "leave_reasons.reasons": N_("What to choose from when somebody leaves, for the report on it."),
        "work_settings.index": N_("Steps from a lead to a running service, checklists, working hours."),
        "help_desk.index": N_("Categories, times to answer, mailbox and teams of the help desk."),
        "message_texts.index": N_("What subscribers are told when, in which words, by mail, SMS or chat."),
    },
    N_("People and safety"): {
        "people.index": N_("Who works here: invite, give roles, switch off."),
        "roles.index": N_("What each role may see and do."),
        "security.index": N_("Who needs a second factor, and how long a sign-in lasts."),
        "router_logins.index": N_("Your staff's logins on the routers themselves."),
        "retention.index": N_("How long sessions, messages and files are kept before they are erased."),
        "audit.index": N_("Who changed what, and when."),
    },
    N_("Other programs"): {
        "api_tokens.index": N_("Keys for programs that read and change what is here."),
        "webhooks.index": N_("Addresses that are told when something happens."),
        "jobs.index": N_("Long work in the background: its progress, its log, again."),
    },
}
