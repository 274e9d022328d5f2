"""Recognising in batches: signals are read when they are needed, and memory may run out."""

from itertools import islice

import pytest
import torch

from intelligibility.recognisers.batches import BatchRecogniser
from intelligibility.recognisers.recognition import Recognition
from intelligibility.runs import RecipeError


class Counting(BatchRecogniser):
    """Recognises each signal's first sample, and has memory for two signals of 0.2 s."""

    memory_remedy = "use fewer"

    def __init__(self, batch_size, memory=6400):
        super().__init__(torch.device("cpu"))
        self.batch_size, self.memory, self.sizes = batch_size, memory, []

    def recognise_batch(self, batch):
        self.sizes.append(len(batch))
        if sum(len(signal) for signal, *_ in batch) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [Recognition({}, f"{int(signal[0])} {text}") for signal, text, _ in batch]


def signals(n):
    return [torch.full((3200,), float(number)) for number in range(n)]


def test_signals_are_read_when_they_are_needed():
    read = []
    noted = (read.append(n) or one for n, one in enumerate(signals(9)))
    assert len(list(islice(Counting(2).recognise(noted), 3))) == 3
    assert len(read) == 4


def test_each_signal_has_its_text():
    found = Counting(2).recognise(signals(3), ["A", None, "C"])
    assert [one.text for one in found] == ["0 A", "1 None", "2 C"]
    with pytest.raises(ValueError, match="zip"):
        list(Counting(2).recognise(signals(3), ["A"]))


def test_a_batch_that_does_not_fit_is_halved(caplog):
    recogniser = Counting(5)
    found = [one.text for one in recogniser.recognise(signals(5))]
    assert found == [f"{n} None" for n in range(5)]
    assert recogniser.sizes == [5, 2, 3, 1, 2]
    assert "No memory for 5 signals of up to 0.2 s at once; trying half" in caplog.text


def test_a_signal_that_never_fits_is_named():
    message = r"no memory for one signal of 0.2 s \(CUDA out of memory.\); use fewer"
    with pytest.raises(RecipeError, match=message):
        list(Counting(3, memory=100).recognise(signals(3)))
