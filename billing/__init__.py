"""Billing: periods, invoices, payments, the ledger, dunning. It says who should be suspended, to no router."""
