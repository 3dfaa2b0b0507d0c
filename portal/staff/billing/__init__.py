"""The pages of finance: what a subscriber owes, payments, invoices, the cash desk, the rules, reports.

Each module has a Blueprint of its own; what they share stands in `base`.
"""
