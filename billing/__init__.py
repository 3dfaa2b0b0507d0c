"""Billing: periods, invoices, payments, the ledger, dunning. It says who should be suspended, to no router.

Where to begin:

    rules.rules_of(session, operator_id) -> BillingRules     what the operator decided; raises BillingOff
    rules.today(now)                                          the operator's day
    following.follow_service(session, actor, rules, service, now)    after a change of a service's state or plan
    run.run_billing(sessions, operator_id, now)               issues all that is due, batch by batch
    run.preview_run(session, rules, day) -> drafts            the same, changing nothing
    preview.next_invoices(session, rules, service_id, …)      the next invoices of a service, as things are or proposed
    simulation.simulate(session, rules, months, today)        all services, month by month, on a clock of its own
    payments.register_payment(session, actor, rules, PaymentTerms(…), now) -> Registered
    payments.what_it_will_do(session, actor, rules, terms, now) -> PaymentEffects
    payments.void_payment / refund_payment(session, actor, rules, payment, …, now)
    credit_notes.credit_invoice / void_invoice(session, actor, rules, invoice, …, now)
    charges.add_charge, add_discount, redeem_coupon, charge_late_fee, bill_now
    promises.promise, cancel_promise, promises_left
    desks.open_desk, move_cash, close_desk, desk_sums, collector_sums
    ledger.broken_entries, discrepancies, balance_of
    reports.*                                                 queries for pages and exports

All of them take the session first and leave the commit to the caller; what was entered wrongly raises
`crm.problems.Invalid`. They work under the portal's role and under the system's. The rules are in docs/billing.md.
"""
