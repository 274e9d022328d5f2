"""The tuple that every file reads names, titles and order from."""

from intelligibility.corpora.cpc1 import CORPUS
from intelligibility.measures import BASELINES, MEASURES


def test_the_papers_measures_come_in_its_order():
    assert [one.name for one in MEASURES][:4] == ["wcs", "pre", "enc", "dec"]
    assert [one.layer for one in MEASURES][:4] == [None, "cnn", "encoder", "decoder"]
    assert [one.clock for one in MEASURES][:4] == ["text", "time", "time", "words"]


def test_names_and_titles_are_told_apart():
    everything = (*MEASURES, *BASELINES)
    assert len({one.name for one in everything}) == len(everything)
    assert len({one.title for one in everything}) == len(everything)
    assert all(one.name.isidentifier() for one in everything)  # of columns and files


def test_what_compares_a_layer_names_it():
    for one in MEASURES:
        assert (one.layer is not None) == (one.clock in ("time", "words"))


def test_every_measure_with_a_published_number_is_one_of_ours():
    names = {one.name for one in (*MEASURES, *BASELINES)}
    assert {measure for measure, _ in CORPUS.published} - {"prior"} <= names
    assert {"wcs", "pre", "enc", "dec"} <= {measure for measure, _ in CORPUS.published}
