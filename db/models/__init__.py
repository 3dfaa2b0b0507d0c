"""The tables, a file for each thing."""

from db.models.account import (
    Account,
    AccountRequest,
    Consent,
    Licence,
    SampleRow,
    SignUp,
    WholesalePrice,
    WholesaleStatement,
)
from db.models.address_pool import AddressPool, RouterPools
from db.models.api import ApiAnswer, ApiToken
from db.models.audit import AuditEntry
from db.models.auth_event import AuthEvent
from db.models.backup import RouterBackup, RouterBackupState
from db.models.billing import BillingSettings, Charge, Coupon, Discount, ServiceBilling, ServicePeriod, TaxRate
from db.models.brand import PLAN_CHANGES, Brand, PlanRequest, SelfService
from db.models.captive import CaptiveHotspot, CaptivePurchase, CaptiveSettings, PayingPass
from db.models.cgnat import CgnatPlan
from db.models.change_log import ChangeLog, Follower, JournalPosition, Node, TenancyKey
from db.models.circuit import CircuitTest
from db.models.currency import DeskCurrency, ExchangeRate, ForeignCash, ForeignCurrency
from db.models.custom_field import CustomField, CustomValue, SubscriberDocument
from db.models.document import DocumentBatch, DocumentMail, Letterhead
from db.models.dunning import BankLine, DunningDone, DunningSettings, DunningStep, DunningText
from db.models.einvoice import EINVOICE_STATES, Einvoice, EinvoiceSettings
from db.models.enforcement import EnforcementAttempt, EnforcementOrder, ServiceGrant, TermsRecord
from db.models.equipment import EQUIPMENT_KINDS, EQUIPMENT_STATES, Equipment, EquipmentMove
from db.models.file import StoredFile
from db.models.finance_day import FinanceDay
from db.models.gateway import GATEWAYS, Checkout, Gateway, GatewayEvent
from db.models.imports import ImportBatch, ImportRow, ShadowSecret
from db.models.invoice import CreditNote, DocumentSeries, Invoice, InvoiceLine, InvoiceTax
from db.models.job import Job, JobLine
from db.models.lead import LEAD_SOURCES, LEAD_STATES, Lead
from db.models.ledger import ACCOUNTS, LedgerAccount, LedgerEntry, LedgerLine
from db.models.mass_change import MassChange, MassChangeRow
from db.models.message import (
    Broadcast,
    IncidentCredit,
    MessagePreference,
    MessageSettings,
    MessageText,
    PushBrowser,
)
from db.models.monitoring import (
    Alert,
    AlertRecipient,
    Incident,
    IncidentMember,
    InterfaceSample,
    InterfaceSample1h,
    InterfaceSample5m,
    LiveWatch,
    Notification,
    RollupPosition,
    RouterSample,
    RouterSample1h,
    RouterSample5m,
    WaitingDevice,
)
from db.models.nas import Nas, NasHeard
from db.models.operator import Operator
from db.models.payment import (
    METHOD_ACCOUNTS,
    CashDesk,
    CashMovement,
    Collector,
    Payment,
    PaymentApplication,
    PaymentMethod,
    Promise,
    Refund,
    RenderedDocument,
)
from db.models.plan import PlanItem, RatePlan
from db.models.provisioning import QueueDrift, RouterQueue, RouterSync
from db.models.quote import Quote
from db.models.report import ReportSchedule, ReportSending
from db.models.retention import RetentionHold, RetentionRule, RetentionRun, SubscriberRemoval
from db.models.router import Router, RouterState
from db.models.router_login import RouterGroup, RouterLogin
from db.models.service import LeaveReason, SeenDevice, Service, ServiceMac
from db.models.session import AccountingSession
from db.models.shadow import ShadowEvent
from db.models.sign_in import Authenticator, LoginDevice, LoginSession, Passkey, RecoveryCode, SignInRule
from db.models.site import MapSettings, Sector, Site
from db.models.staff import ROLES, RolePermission, Staff, StaffLink
from db.models.subscriber import Subscriber
from db.models.subscriber_login import ContactChange, SignInCode, SignInLink, SubscriberLogin
from db.models.ticket import (
    ENTRY_KINDS,
    TICKET_PRIORITIES,
    TICKET_SOURCES,
    TICKET_STATES,
    CannedAnswer,
    HelpDesk,
    Mailbox,
    ReceivedMail,
    Ticket,
    TicketCategory,
    TicketEntry,
    TicketFile,
)
from db.models.usage import UsageHour, UsagePeriod, UsageSpan
from db.models.voucher import Voucher, VoucherBatch, VoucherPrint, VoucherSale, VoucherSettings
from db.models.vpn import VpnPeer, VpnPeerState, VpnServer
from db.models.webhook import WebhookDelivery, WebhookEndpoint, WebhookEvent
from db.models.work_order import (
    WORK_KINDS,
    WORK_OPEN,
    WORK_PRIORITIES,
    WORK_STATES,
    Material,
    WorkChecklist,
    WorkOrder,
    WorkOrderEvent,
    WorkOrderMaterial,
    WorkOrderPhoto,
    WorkSettings,
)

__all__ = [
    "ACCOUNTS",
    "EINVOICE_STATES",
    "ENTRY_KINDS",
    "EQUIPMENT_KINDS",
    "EQUIPMENT_STATES",
    "GATEWAYS",
    "LEAD_SOURCES",
    "LEAD_STATES",
    "METHOD_ACCOUNTS",
    "PLAN_CHANGES",
    "ROLES",
    "TICKET_PRIORITIES",
    "TICKET_SOURCES",
    "TICKET_STATES",
    "WORK_KINDS",
    "WORK_OPEN",
    "WORK_PRIORITIES",
    "WORK_STATES",
    "Account",
    "AccountRequest",
    "AccountingSession",
    "AddressPool",
    "Alert",
    "AlertRecipient",
    "ApiAnswer",
    "ApiToken",
    "AuditEntry",
    "AuthEvent",
    "Authenticator",
    "BankLine",
    "BillingSettings",
    "Brand",
    "Broadcast",
    "CannedAnswer",
    "CaptiveHotspot",
    "CaptivePurchase",
    "CaptiveSettings",
    "CashDesk",
    "CashMovement",
    "CgnatPlan",
    "ChangeLog",
    "Charge",
    "Checkout",
    "CircuitTest",
    "Collector",
    "Consent",
    "ContactChange",
    "Coupon",
    "CreditNote",
    "CustomField",
    "CustomValue",
    "DeskCurrency",
    "Discount",
    "DocumentBatch",
    "DocumentMail",
    "DocumentSeries",
    "DunningDone",
    "DunningSettings",
    "DunningStep",
    "DunningText",
    "Einvoice",
    "EinvoiceSettings",
    "EnforcementAttempt",
    "EnforcementOrder",
    "Equipment",
    "EquipmentMove",
    "ExchangeRate",
    "FinanceDay",
    "Follower",
    "ForeignCash",
    "ForeignCurrency",
    "Gateway",
    "GatewayEvent",
    "HelpDesk",
    "ImportBatch",
    "ImportRow",
    "Incident",
    "IncidentCredit",
    "IncidentMember",
    "InterfaceSample",
    "InterfaceSample1h",
    "InterfaceSample5m",
    "Invoice",
    "InvoiceLine",
    "InvoiceTax",
    "Job",
    "JobLine",
    "JournalPosition",
    "Lead",
    "LeaveReason",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerLine",
    "Letterhead",
    "Licence",
    "LiveWatch",
    "LoginDevice",
    "LoginSession",
    "Mailbox",
    "MapSettings",
    "MassChange",
    "MassChangeRow",
    "Material",
    "MessagePreference",
    "MessageSettings",
    "MessageText",
    "Nas",
    "NasHeard",
    "Node",
    "Notification",
    "Operator",
    "Passkey",
    "PayingPass",
    "Payment",
    "PaymentApplication",
    "PaymentMethod",
    "PlanItem",
    "PlanRequest",
    "Promise",
    "PushBrowser",
    "QueueDrift",
    "Quote",
    "RatePlan",
    "ReceivedMail",
    "RecoveryCode",
    "Refund",
    "RenderedDocument",
    "ReportSchedule",
    "ReportSending",
    "RetentionHold",
    "RetentionRule",
    "RetentionRun",
    "RolePermission",
    "RollupPosition",
    "Router",
    "RouterBackup",
    "RouterBackupState",
    "RouterGroup",
    "RouterLogin",
    "RouterPools",
    "RouterQueue",
    "RouterSample",
    "RouterSample1h",
    "RouterSample5m",
    "RouterState",
    "RouterSync",
    "SampleRow",
    "Sector",
    "SeenDevice",
    "SelfService",
    "Service",
    "ServiceBilling",
    "ServiceGrant",
    "ServiceMac",
    "ServicePeriod",
    "ShadowEvent",
    "ShadowSecret",
    "SignInCode",
    "SignInLink",
    "SignInRule",
    "SignUp",
    "Site",
    "Staff",
    "StaffLink",
    "StoredFile",
    "Subscriber",
    "SubscriberDocument",
    "SubscriberLogin",
    "SubscriberRemoval",
    "TaxRate",
    "TenancyKey",
    "TermsRecord",
    "Ticket",
    "TicketCategory",
    "TicketEntry",
    "TicketFile",
    "UsageHour",
    "UsagePeriod",
    "UsageSpan",
    "Voucher",
    "VoucherBatch",
    "VoucherPrint",
    "VoucherSale",
    "VoucherSettings",
    "VpnPeer",
    "VpnPeerState",
    "VpnServer",
    "WaitingDevice",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WholesalePrice",
    "WholesaleStatement",
    "WorkChecklist",
    "WorkOrder",
    "WorkOrderEvent",
    "WorkOrderMaterial",
    "WorkOrderPhoto",
    "WorkSettings",
]
