"""The page that shows /status live. It needs nothing but the admin port: no other address, no storage, no framework."""

import base64
import hashlib
import re
from pathlib import Path

PAGE = Path(__file__).with_name("dashboard.html").read_text()


def _hash_of(element: str) -> str:
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; connect-src 'self'; script-src {_hash_of('script')}; style-src {_hash_of('style')}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""No other script runs in it, and no other page may frame it."""
