"""JSON in its one spelling, for digests that two programs must agree on."""

import json
from typing import Any


def canonical(value: Any) -> str:
    """JSON with sorted keys, no blanks, and characters as they are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
