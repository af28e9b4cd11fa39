"""Wireshark reads in what our encoder writes what we meant by it: 10,000 messages at random."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest

from sipgram.sms.address import Address
from sipgram.sms.coding import Alphabet
from sipgram.sms.gsm import Language
from sipgram.sms.header import Header
from sipgram.sms.rp import Direction, RpAck, RpData, RpError, RpMessage, RpSmma
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu.command import Command
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parameters import Parameters
from sipgram.sms.tpdu.parser import Tpdu, parse_carried
from sipgram.sms.tpdu.reports import DeliverReport, SubmitReport
from sipgram.sms.tpdu.status_report import StatusReport
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.user_data import UserData
from sipgram.sms.validity import AbsoluteValidity, RelativeValidity, format_of
from sipgram.testing.short_messages import random_message

from . import tshark
from .tshark import Said

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

COUNT: Final = 10_000
FIELDS: Final = (
    "_ws.malformed",
    "gsm_a.rp.extraneous_data",
    "gsm_a.rp.missing_mandatory_element",
    "gsm_sms.message_dissector_not_implemented",
    "gsm_a.rp.msg_type",
    "gsm_a.rp.rp_message_reference",
    "gsm_a.rp.cause",
    "gsm_a.rp.tpdu",
    "gsm_a.dtap.cld_party_bcd_num",
    "gsm_sms.tp-mti",
    "gsm_sms.tp-mr",
    "gsm_sms.tp-mms",
    "gsm_sms.tp-lp",
    "gsm_sms.tp-sri",
    "gsm_sms.tp-srr",
    "gsm_sms.tp-srq",
    "gsm_sms.tp-rd",
    "gsm_sms.tp-rp",
    "gsm_sms.tp-udhi",
    "gsm_sms.tp-vpf",
    "gsm_sms.tp-fcs",
    "gsm_sms.tp-pid",
    "gsm_sms.tp-dcs",
    "gsm_sms.tp-da",
    "gsm_sms.tp-oa",
    "gsm_sms.tp-ra",
    "gsm_sms.dis_field_addr.length",
    "gsm_sms.dis_field_addr.num_type",
    "gsm_sms.dis_field_addr.num_plan",
    "gsm_sms.tp.parameter_indicator",
    "gsm_sms.tp.command_type",
    "gsm_sms.tp.message_number",
    "gsm_sms.tp.command_data_length",
    "gsm_sms.tp.user_data_length",
    "gsm_sms.vp.validity_period",
    "gsm_sms.scts.year",
    "gsm_sms.scts.month",
    "gsm_sms.scts.day",
    "gsm_sms.scts.hour",
    "gsm_sms.scts.minutes",
    "gsm_sms.scts.seconds",
    "gsm_sms.scts.timezone",
    "gsm_sms.ie_identifier",
    "gsm_sms.dis_field_udh.user_data_header_length",
    "gsm_sms.udh.mm.msg_id",
    "gsm_sms.udh.mm.msg_parts",
    "gsm_sms.udh.mm.msg_part",
    "gsm_sms.destination_port",
    "gsm_sms.originator_port",
    "gsm_sms.sms_text",
    "gsm_sms.sms_body",
)


def test_dissector_agrees(tmp_path: Path) -> None:
    pass
