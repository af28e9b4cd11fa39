"""A key as people see it: never its secret, nor its hash."""

from datetime import UTC, datetime

from sipgram.services.keys.rules import KeyRecord


def shown(key: KeyRecord, now_utc: float) -> dict[str, object]:
    """Return a key for JSON."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "accounts": [aor for aor, _ in key.accounts],
        "all_accounts": key.is_for_all,
        "per_minute": key.per_minute,
        "is_good": key.is_good(now_utc),
        "created": _time(key.created_utc),
        "expires": _time(key.expires_utc),
        "revoked": _time(key.revoked_utc),
    }


def _time(utc: float | None) -> str | None:
    return None if utc is None else datetime.fromtimestamp(utc, UTC).isoformat(timespec="seconds")
