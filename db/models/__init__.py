"""The tables, a file for each thing."""

from db.models.audit import AuditEntry
from db.models.auth_event import AuthEvent
from db.models.change_log import ChangeLog, Follower, JournalPosition, Node, TenancyKey
from db.models.enforcement import EnforcementAttempt, EnforcementOrder, ServiceGrant, TermsRecord
from db.models.imports import ImportBatch, ImportRow, ShadowSecret
from db.models.job import Job, JobLine
from db.models.nas import Nas, NasHeard
from db.models.operator import Operator
from db.models.plan import RatePlan
from db.models.provisioning import QueueDrift, RouterQueue, RouterSync
from db.models.router import Router, RouterState
from db.models.service import SeenDevice, Service, ServiceMac
from db.models.session import AccountingSession
from db.models.staff import ROLES, Staff
from db.models.subscriber import Subscriber
from db.models.usage import UsageHour, UsagePeriod

__all__ = [
    "ROLES",
    "AccountingSession",
    "AuditEntry",
    "AuthEvent",
    "ChangeLog",
    "EnforcementAttempt",
    "EnforcementOrder",
    "Follower",
    "ImportBatch",
    "ImportRow",
    "Job",
    "JobLine",
    "JournalPosition",
    "Nas",
    "NasHeard",
    "Node",
    "Operator",
    "QueueDrift",
    "RatePlan",
    "Router",
    "RouterQueue",
    "RouterState",
    "RouterSync",
    "SeenDevice",
    "Service",
    "ServiceGrant",
    "ServiceMac",
    "ShadowSecret",
    "Staff",
    "Subscriber",
    "TenancyKey",
    "TermsRecord",
    "UsageHour",
    "UsagePeriod",
]
