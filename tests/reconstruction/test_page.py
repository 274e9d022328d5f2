"""The spectrograms of the page: what their axes say."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from reconstruction.mel import LogMel
from reconstruction.page import show


@pytest.mark.parametrize("khz", [1, 2, 4])
def test_a_tone_lies_at_its_kilohertz(khz):
    tone = 0.1 * np.sin(2 * np.pi * 1000 * khz * np.arange(16000) / 16000)
    log_mel = LogMel("asr")(torch.tensor(tone, dtype=torch.float32)).numpy()
    axes = Figure().subplots()
    show(axes, log_mel)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    ticks = dict(zip(labels, axes.get_yticks(), strict=True))
    assert ticks[str(khz)] == pytest.approx(log_mel.mean(0).argmax() + 0.5, abs=1.5)
    assert axes.get_xlim() == pytest.approx((0, 1.01))
