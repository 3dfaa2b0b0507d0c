"""Reports of operations: what the manager asks of subscribers, billing, work and the network, beside what pages show.

A report is a question with a query: plain columns under the operator's rows, so that the portal can search, sort, page
and export it in SQL and a worker can send it by a schedule (`worker.reports.sending`). Nothing here knows Flask. The
figures of finance have pages of their own; nothing here sums invoices by month.
"""

from collections.abc import Mapping

from worker.reports.base import Column, Report, Scope
from worker.reports.desk import DESK
from worker.reports.network import NETWORK
from worker.reports.people import PEOPLE
from worker.reports.work import WORK

REPORTS: Mapping[str, Report] = {report.key: report for report in (*PEOPLE, *WORK, *DESK, *NETWORK)}

__all__ = ["REPORTS", "Column", "Report", "Scope"]
