"""Countries: what an ISP there usually bills in, calls its taxes, and is known to the tax office by.

A pack proposes; the operator changes what it likes in its settings. Rates are those of Internet access for homes as of
2026: who buys it elsewhere, or is exempt, removes the tax. Whether a number of the tax office can be one is judged by
python-stdnum, which knows the check digits of each country.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module

from stdnum.exceptions import ValidationError

from core.i18n import N_


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax as invoices name it, in percent; `included` is in the prices that people read."""

    name: str
    rate: Decimal
    included: bool


@dataclass(frozen=True, slots=True)
class Country:
    """What is proposed to an operator of a country.

    `tax_id` is what the number of the tax office is called there, `tax_id_example` one that can be, and `checker` the
    module of stdnum that knows. `invoice_note` and `receipt_note` stand at the foot, in the operator's language.
    """

    code: str
    name: str
    language: str
    currency: str
    zones: tuple[str, ...]
    taxes: tuple[Tax, ...]
    tax_id: str
    tax_id_example: str
    checker: str
    phone_prefix: str
    date_example: str
    invoice_note: str
    receipt_note: str


def _tax(name: str, rate: str, *, included: bool = True) -> Tax:
    return Tax(name, Decimal(rate), included)


_MX_NOTE = "Este documento no es un comprobante fiscal digital (CFDI)."
COUNTRIES: Mapping[str, Country] = {
    country.code: country
    for country in (
        Country(
            "AR", N_("Argentina"), "es", "ARS",
            ("America/Argentina/Buenos_Aires", "America/Argentina/Cordoba", "America/Argentina/Mendoza",
             "America/Argentina/Ushuaia"),
            (_tax("IVA", "21"),), "CUIT", "20-05536168-2", "stdnum.ar.cuit", "+54", "31/12/2027",
            "Documento no válido como factura.", "Recibo de pago. Conserve este comprobante.",
        ),
        Country(
            "CO", N_("Colombia"), "es", "COP", ("America/Bogota",), (_tax("IVA", "19"),), "NIT", "213.123.432-1",
            "stdnum.co.nit", "+57", "31/12/2027", "Este documento no reemplaza la factura electrónica de venta.",
            "Recibo de caja. Conserve este comprobante.",
        ),
        Country(
            "ES", N_("Spain"), "es", "EUR", ("Europe/Madrid", "Atlantic/Canary"), (_tax("IVA", "21"),), "NIF",
            "A13585625", "stdnum.es.nif", "+34", "31/12/2027", "IVA incluido en los precios.",
            "Justificante de pago.",
        ),
        Country(
            "US", N_("United States"), "en", "USD",
            ("America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles",
             "America/Anchorage", "Pacific/Honolulu", "America/Puerto_Rico"),
            (), "EIN", "91-1144442", "stdnum.us.ein", "+1", "12/31/2027", "Payment is due by the date above.",
            "Thank you for your payment.",
        ),
        Country(
            "GT", N_("Guatemala"), "es", "GTQ", ("America/Guatemala",), (_tax("IVA", "12"),), "NIT", "576937-K",
            "stdnum.gt.nit", "+502", "31/12/2027", "Este documento no es una factura electrónica (FEL).",
            "Recibo de pago. Conserve este comprobante.",
        ),
        Country(
            "MX", N_("Mexico"), "es", "MXN",
            ("America/Mexico_City", "America/Cancun", "America/Merida", "America/Monterrey", "America/Chihuahua",
             "America/Hermosillo", "America/Mazatlan", "America/Tijuana"),
            (_tax("IVA", "16"),), "RFC", "GODE 561231 GR8", "stdnum.mx.rfc", "+52", "31/12/2027", _MX_NOTE,
            "Comprobante de pago. " + _MX_NOTE,
        ),
        Country(
            "PE", N_("Peru"), "es", "PEN", ("America/Lima",), (_tax("IGV", "18"),), "RUC", "20512333797",
            "stdnum.pe.ruc", "+51", "31/12/2027", "Este documento no es un comprobante de pago electrónico (SUNAT).",
            "Recibo de pago. Conserve este comprobante.",
        ),
    )
}  # fmt: skip


def country_of(code: str | None) -> Country | None:
    return COUNTRIES.get(code or "")


def tax_id_label(code: str | None) -> str:
    """Return what the tax office's number is called in a country; empty where no pack says."""
    country = country_of(code)
    return country.tax_id if country else ""


def is_tax_id(code: str | None, number: str) -> bool:
    """Tell whether a number can be one of the country's tax office; of a country without a pack, everything can."""
    country = country_of(code)
    if country is None:
        return True
    try:
        import_module(country.checker).validate(number)
    except ValidationError:
        return False
    return True
