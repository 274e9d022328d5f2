"""The second system's results over settings, and over tasks.

    make demo                                                  # signals and recogniser, once
    python -m benchmarks.reconstruction sweep /tmp/sweep       # an hour of one core or two
    python -m benchmarks.reconstruction tasks demo/exp/reconstruct    # after demo-reconstruct-all

What loses the words of VGGish's last pooled layers: the inverter, its training, or the embedding?
`sweep` inverts pool4 of a VGGish that tells talkers apart, and pool3 beside it for some, at the
demo's settings and with one of them changed at a time. Each setting has a folder of its own below
the one given; one that is there already is kept, one that was stopped goes on. It prints a table of
all that are finished, with a row per setting and layer, and draws it in sweep.png. `tasks` prints
and draws (tasks.png) means over the tasks that a network was trained on, and their spread.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.made.cost import cost_of
from benchmarks.made.experiment import link_demo
from intelligibility.evaluation.drawing import PAGE, STYLE
from intelligibility.evaluation.tables import markdown
from intelligibility.pages import number
from intelligibility.runs import read_json, write_json
from reconstruction.page import LOOKS, TITLES
from reconstruction.places import ReconstructionFolder

DEMO = "demo"
# Keys of `reconstruct` by the name of a setting, roughly the cheapest first. A classifier after one
# update is as good as untrained.
SETTINGS: dict[str, dict[str, int]] = {
    DEMO: {},
    "untrained VGGish": {"classifier_steps": 1},
    "all 1920 training signals": {"n_train": 1920},
    "full width": {"ladder_divisor": 1},
    "1500 steps": {"steps": 1500},
    "VGGish / 4": {"divisor": 4},
    "5000 steps": {"steps": 5000},
    "full width and 5000 steps": {"ladder_divisor": 1, "steps": 5000},
}
WITH_POOL3 = (DEMO, "full width", "1500 steps")  # the others have pool4 alone


def run_setting(folder: Path, name: str) -> None:
    """Invert the layers with one setting, in a folder of its own.

    It begins with the classifier and the controls of the demo's settings: those that the setting
    changes are made again.
    """
    place = folder / name.replace(" / ", "-").replace(" ", "-")
    record = place / "setting.json"
    if record.is_file():
        return
    link_demo(place, "cpc1_asr_data", "transformer_cpc1", "presentations.json")
    start = folder / DEMO / "reconstruct"
    if name != DEMO and not (place / "reconstruct").exists():
        shutil.copytree(start, place / "reconstruct", ignore=lambda _, names: {"pool3", "pool4"})
    given = [f"reconstruct.{key}={value}" for key, value in SETTINGS[name].items()]
    if "n_train" in SETTINGS[name]:  # of the inverter alone: the classifier stays that of the demo
        given.append(f"weights={start / 'vggish-talker/network.pt'}")
    layers = "[pool3,pool4]" if name in WITH_POOL3 else "[pool4]"
    cost = cost_of(
        "reconstruction/reconstruct.py",
        *("--config-name", "demo/config", "n_jobs=1", f"path.exp_folder={place}"),
        *("network=vggish", f"layers={layers}", "reconstruct.floor_steps=0", *given),
    )
    write_json(record, {"name": name, "minutes": cost.cpu / 60})


def gather(folder: Path) -> pd.DataFrame:
    """Return both layers' rows of every finished setting, both conditions."""
    parts = []
    for record in folder.glob("*/setting.json"):
        table = pd.read_csv(ReconstructionFolder(record.parent / "reconstruct").table)
        rows = table[(table["kind"] == "layer") & (table["listener"] == "ALL")]
        parts.append(rows.assign(**read_json(record, dict)))
    found, order = pd.concat(parts), list(SETTINGS)
    return found.sort_values("name", key=lambda names: names.map(order.index), kind="stable")


def lay_out(found: pd.DataFrame) -> pd.DataFrame:
    """Return a line per setting and layer, to be read."""
    lines = []
    for (name, layer), pair in found.groupby(["name", "layer"], sort=False):
        one = pair.set_index("condition")
        line: dict[str, Any] = {"setting": name, "layer": layer}
        line |= {"parameters": number(one.params.iloc[0], 0)}
        line |= {"train L1": number(one.mel_l1_train.iloc[0], 3)}
        for condition in LOOKS:
            line |= {f"{condition} skill": number(one.skill[condition], 2)}
            line |= {f"{condition} WER": number(one.wer[condition], 1)}
        lines.append(line | {"CPU minutes": number(one.minutes.iloc[0], 1)})
    return pd.DataFrame(lines)


@rc_context(STYLE)
def draw(found: pd.DataFrame) -> Figure:
    """Draw word error rates with their intervals, a panel for each layer, a line per setting."""
    figure = Figure((PAGE, 2.9), layout="constrained")
    names = list(found["name"].unique())[::-1]
    for axes, layer in zip(figure.subplots(1, 2, sharey=True), ("pool3", "pool4"), strict=True):
        for condition, (colour, marker) in LOOKS.items():
            rows = found[(found["layer"] == layer) & (found["condition"] == condition)]
            around = rows["wer"] - rows["wer_ci_lo"], rows["wer_ci_hi"] - rows["wer"]
            places = [names.index(name) for name in rows["name"]]
            bars = axes.errorbar(rows["wer"], places, xerr=around, fmt=marker, color=colour)
            bars.set_label(TITLES[condition])
        axes.set(title=layer, xlabel="word error rate (%)", xlim=(0, 105))
        axes.set_yticks(range(len(names)), names)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def over_tasks(folder: Path) -> pd.DataFrame:
    """Return mean and standard deviation over tasks, by network, layer (in order) and condition."""
    table = pd.read_csv(ReconstructionFolder(folder).table)
    rows = table[(table["listener"] == "ALL") & (table["inverter"] == "reccnn")]
    rows = rows.assign(network=rows["source"].str.split("-").str[0])
    rows = rows[rows["network"] != rows["source"]]  # the recogniser has no task
    groups = rows.groupby(["network", "depth", "layer", "condition"])
    return groups[["skill", "wer"]].agg(["mean", "std", "count"])


def lay_out_tasks(found: pd.DataFrame) -> pd.DataFrame:
    """Return a line per network and layer, to be read."""
    lines = []
    for (network, _, layer), rows in found.groupby(level=["network", "depth", "layer"]):
        both = rows.droplevel(["network", "depth", "layer"])
        line = {"network": network, "layer": layer, "tasks": both["wer", "count"].iloc[0]}
        for condition in LOOKS:
            for name, decimals in (("skill", 2), ("wer", 1)):
                parts = [number(both[name, one][condition], decimals) for one in ("mean", "std")]
                line[f"{condition} {name}"] = " ± ".join(parts)
        lines.append(line)
    return pd.DataFrame(lines)


@rc_context(STYLE)
def draw_tasks(found: pd.DataFrame) -> Figure:
    """Draw word error rates by depth, a panel per network: mean and spread over tasks."""
    figure = Figure((PAGE, 2.6), layout="constrained")
    networks = sorted(found.index.unique("network"), reverse=True)
    every = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axes, network in zip(every, networks, strict=True):
        for condition, (colour, marker) in LOOKS.items():
            rows = found.xs((network, condition), level=("network", "condition"))["wer"]
            layers = rows.index.get_level_values("layer")
            axes.errorbar(
                layers, rows["mean"], rows["std"], marker=marker, color=colour, capsize=2,
                label=TITLES[condition],
            )  # fmt: skip
        axes.set(title=network, ylim=(0, 125))
    every[0].set_ylabel("word error rate (%)")
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["sweep", "tasks"])
    parser.add_argument("folder", type=lambda text: Path(text).absolute())
    arguments = parser.parse_args()
    if arguments.what == "tasks":
        means = over_tasks(arguments.folder)
        print(markdown(lay_out_tasks(means)))
        draw_tasks(means).savefig(arguments.folder / "tasks.png", dpi=200)
        return
    for name in SETTINGS:
        run_setting(arguments.folder, name)
    found = gather(arguments.folder)
    print(markdown(lay_out(found)))
    draw(found).savefig(arguments.folder / "sweep.png", dpi=200)


if __name__ == "__main__":
    main()
