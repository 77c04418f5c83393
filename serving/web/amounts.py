"""Money and time as people read them."""

import time
from decimal import Decimal

MINUTE, HOUR, DAY = 60, 3_600, 86_400

# ISO 4217: how many decimals a currency has, where it is not two.
_DECIMALS = {
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
_SYMBOLS = {"EUR": "€", "GBP": "£", "INR": "₹", "JPY": "¥", "KRW": "₩", "USD": "$"}


def money(amount: int, currency: str) -> str:
    """Minor units as "€0.05"; "0.05 CHF" where the currency's sign would not be understood everywhere."""
    figure = f"{abs(_major(amount, currency)):,}"
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{figure}" if symbol else f"{sign}{figure} {currency}"


def minor_units(amount: float, currency: str) -> int:
    """An amount in the currency's major unit as whole minor units: 5 EUR are 500, 5 JPY are 5."""
    places: int = _DECIMALS.get(currency, 2)
    return round(amount * 10.0**places)


def decimal(amount: int, currency: str) -> str:
    """Minor units as a plain number for programs: "-0.05"."""
    return f"{_major(amount, currency)}"


def time_left(until: float, now: float) -> str:
    """What is left, in whole units of the largest that fits: "18 hours left"."""
    left = int(until - now)
    for unit, seconds, least in (("day", DAY, 2 * DAY), ("hour", HOUR, HOUR), ("minute", MINUTE, MINUTE)):
        if left >= least:
            count = left // seconds
            return f"{count} {unit}{'s' if count > 1 else ''} left"
    return "less than a minute left"


def utc(at: float) -> str:
    """Seconds since the epoch as "2026-11-26 14:00 UTC"."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def iso(at: float) -> str:
    """Seconds since the epoch as "2026-11-26T14:00:00Z", for programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _major(amount: int, currency: str) -> Decimal:
    places = _DECIMALS.get(currency, 2)
    return Decimal(amount).scaleb(-places).quantize(Decimal(1).scaleb(-places))
