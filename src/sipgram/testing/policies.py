"""Try a policy as the server would: the same checks, the same bound on time (``sipgram.policy``)."""

import asyncio

from sipgram.errors import UsageError
from sipgram.policy import Letter, Policy
from sipgram.services.answers import Answer
from sipgram.services.policy.service import Judgement, Police
from sipgram.settings import PolicySettings
from sipgram.sip.message.message import Message
from sipgram.sip.sink import Flow


async def judged(policy: Policy, letter: Letter, *, timeout_s: float = 1.0) -> Judgement:
    """Return what the server would make of a policy's answer to one message.

    ``failure`` says that the policy raised, hung, or gave what cannot be used.
    """
    clock = asyncio.get_running_loop().time
    settings = PolicySettings(timeout_s=timeout_s)
    return await Police(policy, _Nobody(), settings=settings, clock=clock).judge(letter)


class _Nobody:
    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Answer:
        raise UsageError("a policy on trial hands nothing on")
