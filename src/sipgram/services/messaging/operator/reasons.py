"""Why a message has not arrived, in sentences (PEERS.md §2, complaint 5). Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Record = dict[str, Any]


def reasons(record: Record, *, now_utc: float) -> list[str]:
    """Say of a message, as ``MessageRecords.find`` returns it, where it is and why."""
    state = record["state"]
    if state == "waiting":
        return list(_waiting(record, now_utc))
    ended = time_of(record["finished_utc"])
    if state == "delivered":
        return [f"delivered: every device that was waited for has its copy since {ended}"]
    if state == "cancelled":
        return [f"cancelled by an administrator at {ended}"]
    told = [f"{_named(copy['device'])} refused it: {copy['status']}" for copy in _ended(record)]
    if state == "failed":
        return told or [f"every device that was there refused it, {ended}"]
    last = [_attempted(attempt) for attempt in _latest(record).values()]
    return [f"expired at {ended}, before a device took it", *told, *last]


def _waiting(record: Record, now_utc: float) -> Iterator[str]:
    """Tell of each device that has not got it what it waits for."""
    bound = {b["device"]: b for b in record["bindings"] if b["expires_utc"] > now_utc}
    seen = {away["device"]: away["seen_utc"] for away in record["away"]}
    for binding in record["bindings"]:
        seen.setdefault(binding["device"], binding["expires_utc"])
    if record["is_for_all"]:
        over = {copy["device"] for copy in record["copies"] if copy["state"] != "waiting"}
        devices = [device for device in (seen | bound) if device not in over]
        if not devices:
            yield "no device of the account is known: the first that registers gets it"
    else:
        devices = [copy["device"] for copy in record["copies"] if copy["state"] == "waiting"]
    latest = _latest(record)
    for device in devices:
        name, attempt = _named(device), latest.get(device)
        if device not in bound:
            since = f", last seen {time_of(seen[device])}" if device in seen else ""
            yield f"{name} is away{since}: it gets the message when it registers"
        elif record["behind"] is not None:
            yield f"{name} is registered, and message {record['behind']} of this sender goes first"
        elif attempt is None:
            yield f"{name} is registered over {bound[device]['flow']} and is about to get it"
        if attempt is not None:
            yield _attempted(attempt)


def _latest(record: Record) -> dict[str, Record]:
    return {attempt["device"]: attempt for attempt in record["attempts"]}


def _ended(record: Record) -> list[Record]:
    return [copy for copy in record["copies"] if copy["state"] == "refused"]


def _attempted(attempt: Record) -> str:
    status = attempt["status"]
    answer = f"answered {status} {attempt['reason']}".rstrip() if status else "gave no answer"
    return (
        f"{_named(attempt['device'])} {answer} at {time_of(attempt['at_utc'])} "
        f"(attempt {attempt['number'] + 1}, {attempt['contact']} over {attempt['flow']})"
    )


def _named(device: str) -> str:
    return f"device {device}" if device else "the device without +sip.instance"


def time_of(utc: float | None) -> str:
    """Return an instant for people, ``-`` for none."""
    if utc is None:
        return "-"
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d %H:%M:%S")
