"""The tuple that every file reads names, titles and order from."""

from intelligibility.corpora.cpc1 import CORPUS
from intelligibility.measures import BASELINES, MEASURES


def test_the_papers_measures_come_in_its_order():
    first = [(one.name, one.layer, one.clock) for one in MEASURES[:4]]
    assert first[:2] == [("wcs", None, "text"), ("pre", "cnn", "time")]
    assert first[2:] == [("enc", "encoder", "time"), ("dec", "decoder", "words")]


def test_names_and_titles_are_told_apart():
    everything = (*MEASURES, *BASELINES)
    for what in ("name", "title"):
        assert len({getattr(one, what) for one in everything}) == len(everything)
    assert all(one.name.isidentifier() for one in everything)  # of columns and files
    for one in MEASURES:  # what compares a layer names it
        assert (one.layer is not None) == (one.clock in ("time", "words"))


def test_every_measure_with_a_published_number_is_one_of_ours():
    names = {one.name for one in (*MEASURES, *BASELINES)}
    assert {measure for measure, _ in CORPUS.published} - {"prior"} <= names
    assert {"wcs", "pre", "enc", "dec"} <= {measure for measure, _ in CORPUS.published}
