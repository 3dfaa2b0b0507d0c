"""The pages of vouchers: batches, single codes, selling and the report of sales."""
