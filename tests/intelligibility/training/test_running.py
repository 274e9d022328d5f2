"""Signals that stop a training."""

import contextlib
import signal

import pytest

from intelligibility.training.running import heard_signals


@pytest.mark.parametrize(("stopped", "ends"), [(True, KeyboardInterrupt), (False, RuntimeError)])
def test_what_an_interrupt_broke_ends_as_the_interrupt(stopped, ends):
    with pytest.raises(ends), heard_signals():
        with contextlib.suppress(KeyboardInterrupt):
            if stopped:
                signal.raise_signal(signal.SIGINT)
        raise RuntimeError("a loading process exited unexpectedly")
