"""Push, wired: the services of ``push.file``, and the queue before them (RFC 8599, DELIVERY.md D25)."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sipgram.services.push.credentials import load_providers
from sipgram.services.push.service import ANY, Pusher
from sipgram.services.registrar.push import PushTerms
from sipgram.settings import PushSettings


class PushParts(NamedTuple):
    """What wakes phones, and what phones hear of it."""

    pusher: Pusher
    terms: PushTerms


def build_push(
    settings: PushSettings, *, clock: Callable[[], float], wall: Callable[[], float]
) -> PushParts:
    """Return the parts of it; without a file nobody is woken.

    Raises:
        SettingsError: the file, or a key in it, cannot be used.
    """
    if not settings.file:
        return PushParts(Pusher({}, settings=settings, clock=clock), PushTerms())
    providers, services = load_providers(
        Path(settings.file), timeout_s=settings.timeout_s, wall=wall
    )
    pusher = Pusher(providers, settings=settings, clock=clock)
    return PushParts(pusher, PushTerms(services, takes_any=ANY in providers))
