"""The help desk: tickets, its rules, its reports."""
