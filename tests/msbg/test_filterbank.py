"""Design of the filterbanks, against the plain version and the published tables.

Tolerance 1e-9, relative to one (coefficients, dB) or to the value (Hz). Measured: coefficients
1e-14, frequencies 3e-16, recombination 1.2e-11 dB.
"""

import json
import math

import numpy as np
import pytest

from msbg.filterbank import DESIGNS, filterbank
from tests.msbg import msbg_oracle as oracle

TOLERANCE = 1e-9
SEVERITIES = ["SEVERE", "MODERATE", "MILD"]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_channels_equal_the_plain_design(severity: str) -> None:
    """Each channel's sections, delay and bandwidth."""
    bank = filterbank(severity)
    channels = oracle.sections(severity)
    n_channels = {"SEVERE": 19, "MODERATE": 28, "MILD": 36}[severity]
    assert len(channels) == len(bank.centres_hz) == n_channels
    for number, channel in enumerate(channels):
        b, a = channel["gammatone"]
        assert bank.gammatone[number] == pytest.approx([*b, 0, *a], abs=TOLERANCE)
        b, a = channel["cut"] or ([1, 0, 0], [1, 0, 0])
        a = np.array(a) / a[0] if channel["cut"] else a
        b = np.array(b) * (1 / channel["cut"][1][0] if channel["cut"] else 1)
        assert bank.high_pass[number] == pytest.approx([*b, *a], abs=TOLERANCE)
        assert bank.erbs_hz[number] == pytest.approx(channel["erb"], rel=TOLERANCE)
        assert bank.delays[number] == channel["delay"]
    gain_db = 20 * math.log10(oracle.recombination_gain(channels))
    assert bank.recombination_db == pytest.approx(gain_db, abs=TOLERANCE)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_banks_equal_the_published_tables(severity: str, shared: object) -> None:
    """The files that the published simulators read."""
    table = json.loads((shared / f"golden/msbg/filterbank_{severity.lower()}.json").read_text())
    bank = filterbank(severity)
    design = DESIGNS[severity]
    first = table["Start2PoleHP"] - 1
    assert (design.broadening, design.spacing) == (table["BROADEN"], table["SPACING"])
    assert design.first_high_passed == first
    assert bank.delays.tolist() == table["GTnDelays"]
    assert bank.centres_hz == pytest.approx(table["GTn_CentFrq"], rel=TOLERANCE)
    assert bank.erbs_hz == pytest.approx(table["ERBn_CentFrq"], rel=TOLERANCE)
    for computed, published in (
        (bank.gammatone[:, :3], table["GTn_nums"]),
        (bank.gammatone[:, 3:], table["GTn_denoms"]),
        (bank.high_pass[first:, :3], table["HP_nums"]),
        (bank.high_pass[first:, 3:], table["HP_denoms"]),
        (bank.recombination_db, table["Recombination_dB"]),
    ):
        assert np.abs(computed - np.array(published)).max() < TOLERANCE
