"""The page: complete, and drawn by a browser that has no network."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

import evaluate
from benchmarks.made.experiment import CHECKPOINT, make_experiment
from intelligibility.evaluation.layout import _all_tables, lay_out
from intelligibility.evaluation.report import notes
from intelligibility.experiment import Experiment
from tests.conftest import configure

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
N_FIGURES = 6


class Page(HTMLParser):
    """What a page refers to and says."""

    def __init__(self, text):
        super().__init__()
        self.references, self.words, self.tags, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.references.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return the report of a small experiment."""
    folder = tmp_path_factory.mktemp("a <b> & c")  # a name that would break careless HTML
    exp = make_experiment(folder)
    evaluate.run(configure(folder, exp))
    return exp / "report.html"


def test_refers_to_nothing_outside(report):
    text = report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert [reference[:5] for reference in page.references] == ["data:"] * (N_FIGURES + 1)
    assert "script" not in page.tags
    configuration = re.compile("<pre>.*</pre>", re.DOTALL)  # which names a server
    assert not re.search(r"url\(|@import|https?://", configuration.sub("", text))


def test_says_what_was_run_on_what(report):
    words = re.sub(r"\s+", " ", "".join(Page(report.read_text(encoding="utf-8")).words))
    for said in (
        "closed track",
        "a speech recogniser (trained by train_asr.py, transformer_cpc1.yaml) was run",
        "3 hearing-aid systems for 6 listeners: 72 test signals from 12 scenes",
        "fitted on 36 held-out dev signals",
        "These are 72 test signals; the closed test set of CPC1 has 2421",
        CHECKPOINT,
        "Table 1",
        "Table 3",
        "Which is better?",
        "By severity",
        "cpc1_track: closed",
        "numpy ",
    ):
        assert said in words, said


def test_a_table_without_a_number_is_left_out(report, tmp_path):
    results = json.loads((report.parent / "results.json").read_text())
    exp = shutil.copytree(report.parent, tmp_path / "exp")
    experiment = Experiment(exp, exp, "")
    assert "within" in _all_tables(experiment, results, {})
    nothing = {"reason": "0 systems have 3 listeners", "ceiling": None, "measures": {}}
    results["within"] = {"listener": nothing, "system": nothing}
    lay_out(experiment, results, {}, {})
    left = {path.stem for name in ("tables", "figures") for path in (exp / name).iterdir()}
    assert "table1" in left and "within" not in left
    said = "No correlations within listeners or within systems: 0 systems have 3 listeners; "
    assert any(note.startswith(said) for note in notes(results))


def test_the_scatter_figure_comes_before_the_long_tables(report):
    text = report.read_text("utf-8")
    places = [text.index(one) for one in ("Table 1:", "<img", "Table 3:", "By listener")]
    assert places == sorted(places)
    assert text.index('alt="Similarity and percent words correct"') < text.index("Table 3:")


def test_the_images_are_the_figures(report):
    images = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", report.read_text("utf-8"))
    files = sorted((report.parent / "figures").glob("*.png"))
    assert len(files) == N_FIGURES
    assert sorted(map(base64.b64decode, images)) == sorted(file.read_bytes() for file in files)


def test_a_browser_draws_every_image_without_a_word_on_its_console(report, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    counting = (
        '<script>addEventListener("load", () => { document.body.dataset.drawn = '
        "[...document.images].filter(i => i.complete && i.naturalWidth > 0).length })</script>"
    )
    copy = tmp_path / "report.html"
    copy.write_text(report.read_text("utf-8").replace("</body>", counting + "</body>"), "utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert f'data-drawn="{N_FIGURES}"' in done.stdout
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
