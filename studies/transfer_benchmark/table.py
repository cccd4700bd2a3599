"""The table and the pictures of README.md beside this file, from the recorded runs.

Run as ``python -m studies.transfer_benchmark.table`` from the top folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studies import raw
from studies.transfer_benchmark.hostile import HOSTILE
from studies.transfer_benchmark.methods import METHODS
from studies.transfer_benchmark.peers import (
    BUDGET,
    LATE,
    TINY,
    Curves,
    curves,
    harm,
    interval,
    mean_curve,
    median_to_best,
    ratio,
    read_peers,
    told,
    trainings_to,
    worst,
)
from studies.transfer_benchmark.pictures import (
    draw_harm,
    draw_overview,
    draw_predictions,
    draw_regret,
)
from studies.transfer_benchmark.study import RAW, RUNS
from studies.transfer_benchmark.tables import LAYOUTS, Table, folder

HERE = Path(__file__).parent
PEERS = ("random", "tpe", "portfolio_tpe", "lgbm_static", "syne_cts", "stack")
HOSTILE_AT = (LATE, 20, 30, 50)
PORTFOLIO_AT = (5, 10, 20, 50)
SHOWN = ("n=1", "3", "5", "10", "20", "50")
HOSTILE_HEAD = ("n=10", "20", "30", "50", "worst", "mean from 10 on")
LOST = (1, 3, 5)
"""Trainings that are lost, for comparison with what misleading past tasks cost."""
MAIN = ("ours", "cell", "no_past", "cell_no_past")
"""Methods that are shown beside the peers."""
IN_ANOTHER_SPACE = ("cell", "cell_no_past")
"""Methods that are no ablations: more than an argument differs."""
ALL_ROWS = 30_000
"""No table has more."""
PAIRS = {20: "20 pairs", 1000: "1000 pairs", ALL_ROWS: "all rows"}
"""Pairs a past task, beside the protocol's."""
COMPARED_FROM = 5
"""The first training that counts where ablations are compared: before, few have learned."""


def ours(
    table: Table, runs: Sequence[Mapping[str, Any]], past: str = "true", n_pairs: int = 100
) -> Curves:
    """Return the curves of one method under one kind of past tasks."""
    return curves(table, [r for r in runs if (r["past"], r["pairs"]) == (past, n_pairs)])


def by_method(rows: Sequence[raw.Row], table: str) -> dict[str, list[raw.Row]]:
    """Return the recorded runs of all methods on a table."""
    own = [row for row in rows if row["table"] == table]
    return {method: [row for row in own if row["method"] == method] for method in METHODS}


def line(method: str, found: Curves, tpe: Curves) -> str:
    """One row of the table."""
    level = float(mean_curve(tpe)[-1])
    reached = told(trainings_to(found, level))
    cells = [f"{mean_curve(found)[n - 1]:.3f}" for n in (1, 3, 5, 10)]
    for n in (20, 50):
        mean, low, high = interval(found, n)
        cells.append(f"{mean:.3f} ({low:.3f} to {high:.3f})")
    common = len(found.keys() & tpe.keys())
    for n in (10, 50):
        cells.append(f"{100 * harm(found, tpe, n):.0f} %" if common and method != "tpe" else "–")
    return f"| {method} | {len(found)} | {reached} | {' | '.join(cells)} |"


def print_title(title: str) -> None:
    """Print what a table is about."""
    print(f"\n{title}\n")


def print_columns(*names: str) -> None:
    """Print the head of a table."""
    print(f"| {' | '.join(names)} |\n|" + "---|" * len(names))


def print_head(first: str) -> None:
    """Print what stands above rows of :func:`line`."""
    print_columns(first, "runs", "to TPE's 50", *SHOWN, "harm 10", "harm 50")


def print_table(table: Table, peers: Mapping[str, Curves], own: Mapping[str, Curves]) -> None:
    """Print what all methods need on one table."""
    print(f"\n**{table.name}**\n")
    print_head("method")
    for method in PEERS:
        if method in peers:
            print(line(method, peers[method], peers["tpe"]))
    for method, found in own.items():
        if found:
            print(line(f"**{method}**", found, peers["tpe"]))


def print_hostile(table: Table, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print mean regret with past tasks that mislead, as a ratio to that without any."""
    cold = ours(table, runs["no_past"])
    for kind in HOSTILE:
        found = ours(table, runs["ours"], kind)
        if found and cold:
            common = found.keys() & cold.keys()
            mean = mean_curve({c: found[c] for c in common})
            base = mean_curve({c: cold[c] for c in common})
            shares = mean / np.maximum(base, TINY)
            cells = " | ".join(f"{shares[n - 1]:.2f}" for n in HOSTILE_AT)
            whole = "{:.2f} ({:.2f} to {:.2f})".format(*ratio(found, cold, LATE))
            most = worst(found, cold)
            print(f"| {table.name} | {kind} | {len(common)} | {cells} | {most:.2f} | {whole} |")


def print_lost(table: Table, cold: Curves) -> None:
    """Print what it costs to train some architectures first that teach nothing, as a ratio."""
    base = np.maximum(mean_curve(cold), TINY)
    first = LATE - 1
    for lost in LOST:
        late = base[first - lost : BUDGET - lost]
        shares = late / base[first:]
        cells = " | ".join(f"{shares[n - LATE]:.2f}" for n in HOSTILE_AT)
        whole = late.mean() / base[first:].mean()
        name = f"*none, {lost} lost*"
        print(
            f"| {table.name} | {name} | {len(cold)} | {cells} | {shares.max():.2f} | {whole:.2f} |"
        )


def print_paired(
    peers: Mapping[str, Mapping[str, Curves]], own: Mapping[str, Curves], names: Sequence[str]
) -> None:
    """Print trainings and mean regret of ours and of each peer on the cases that both have."""
    for method in PEERS:
        cells = []
        for name in names:
            other = peers[name].get(method, {})
            common = sorted(other.keys() & own[name].keys())
            if not common:
                cells.append("–")
                continue
            level = float(mean_curve({c: peers[name]["tpe"][c] for c in common})[-1])
            found, theirs = ({c: side[c] for c in common} for side in (own[name], other))
            reached = [told(trainings_to(side, level)) for side in (found, theirs)]
            change, low, high = (round(100 * (x - 1)) for x in ratio(found, theirs, COMPARED_FROM))
            cells.append(f"{' / '.join(reached)}; {change:+d} % ({low:+d} to {high:+d})")
        print(f"| {method} | {' | '.join(cells)} |")


def print_portfolio(name: str, own: Mapping[str, Curves], portfolio: Curves) -> None:
    """Print how much regret ours leaves beyond the portfolio's, ± one standard error."""
    for label in ("ours", f"ours, {PAIRS[ALL_ROWS]}"):
        cells = []
        for n in PORTFOLIO_AT:
            apart = [c[n - 1] - portfolio[case][n - 1] for case, c in own[label].items()]
            error = np.std(apart) / np.sqrt(len(apart))
            cells.append(f"{np.mean(apart):+.3f} ± {error:.3f}")
        print(f"| {name} | {label} | {' | '.join(cells)} |")


def print_distrust(runs: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> None:
    """Print the share of searches that end with transfer less likely than not."""
    for kind in ("true", *HOSTILE):
        cells = []
        for methods in runs.values():
            ends = [
                r["transfer"] for r in methods["ours"] if (r["past"], r["pairs"]) == (kind, 100)
            ]
            cells.append(f"{100 * np.mean([end < 0.5 for end in ends]):.0f} %" if ends else "–")
        print(f"| {kind} | {' | '.join(cells)} |")


def print_to_best(own: Mapping[str, Curves], targets: Sequence[str]) -> None:
    """Print median trainings to the best architecture there is."""
    for method in MAIN:
        if own[method]:
            cells = " | ".join(told(median_to_best(own[method], target)) for target in targets)
            print(f"| {method} | {cells} |")


def print_ablations(
    tables: Mapping[str, Table],
    peers: Mapping[str, Mapping[str, Curves]],
    own: Mapping[str, Mapping[str, Curves]],
    unchanged: Mapping[str, Curves],
) -> None:
    """Print rows of what each change of one argument does to mean regret, on common cases."""
    recorded = dict.fromkeys(m for found in own.values() for m in found if found[m])
    for method in (m for m in recorded if m not in IN_ANOTHER_SPACE):
        cells = []
        for name in tables:
            found, base = own[name][method], unchanged[name]
            level = float(mean_curve(peers[name]["tpe"])[-1])
            cells.append(changed(found, base, level) if found else "–")
        print(f"| {method} | {' | '.join(cells)} |")


def changed(found: Curves, base: Curves, level: float) -> str:
    """Trainings to a level; mean regret from the fifth on, in % of the base's, with 95 %."""
    reached = told(trainings_to(found, level))
    if found is base:
        return reached
    change, low, high = (round(100 * (x - 1)) for x in ratio(found, base, COMPARED_FROM))
    runs = "" if len(found) == len(base) else f", {len(found)} runs"
    return f"{reached}; {change:+d} % ({low:+d} to {high:+d}{runs})"


def print_comparisons(
    tables: Mapping[str, Table],
    peers: Mapping[str, Mapping[str, Curves]],
    all_own: Mapping[str, Mapping[str, Curves]],
) -> None:
    """Print what differs between our methods, and between ours and the peers."""
    print_title("**One argument changed**: trainings to TPE's 50; change of mean regret")
    print_columns("changed", *tables)
    unchanged = {name: own["ours"] for name, own in all_own.items()}
    print_ablations(tables, peers, all_own, unchanged)
    print_title(
        "**On the cases that both have**: trainings of *ours* / of theirs; change of regret"
    )
    print_columns("against", *tables)
    print_paired(peers, unchanged, list(tables))
    print_title("**Regret beyond the portfolio's**, ± one standard error")
    print_columns("table", "method", *(f"n={n}" for n in PORTFOLIO_AT))
    for name, own in all_own.items():
        print_portfolio(name, own, peers[name]["portfolio_tpe"])
    print_title("**Trainings to the best of nb201**, median of the seeds")
    print_columns("method", *LAYOUTS["nb201"].tasks)
    print_to_best(all_own["nb201"], LAYOUTS["nb201"].tasks)
    print_title("**Past tasks known with all their rows**")
    print_head("table")
    for name in tables:
        print(line(name, all_own[name][f"ours, {PAIRS[ALL_ROWS]}"], peers[name]["tpe"]))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables and draw the pictures of what is recorded."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/ and peers/")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--pictures", type=Path, default=HERE, metavar="FOLDER")
    arguments = parser.parse_args(argv)
    bench = folder(arguments.bench)
    tables = {name: Table(name, bench / "tables") for name in LAYOUTS}
    rows = raw.read(arguments.out, RUNS)
    runs = {name: by_method(rows, name) for name in tables}
    peers = {
        name: read_peers(bench / "peers" / "peers.jsonl", table) for name, table in tables.items()
    }
    shown: dict[str, dict[str, Curves]] = {}
    all_own: dict[str, dict[str, Curves]] = {}
    for name, table in tables.items():
        own = {method: ours(table, found) for method, found in runs[name].items()}
        for n_pairs, label in PAIRS.items():
            own[f"ours, {label}"] = ours(table, runs[name]["ours"], n_pairs=n_pairs)
        all_own[name] = own
        print_table(table, peers[name], {method: own[method] for method in MAIN})
        shown[name] = {
            **{m: peers[name][m] for m in ("random", "tpe", "portfolio_tpe", "stack")},
            **{m: own[m] for m in ("no_past", "ours") if own[m]},
        }
    print_comparisons(tables, peers, all_own)
    print_title("**Transfer ends below a half**, share of searches")
    print_columns("past tasks", *tables)
    print_distrust(runs)
    print_title("**Past tasks that mislead**: mean regret over that without past tasks")
    print_columns("table", "past tasks", "runs", *HOSTILE_HEAD)
    for name, table in tables.items():
        print_hostile(table, runs[name])
        print_lost(table, all_own[name]["no_past"])
    draw_regret(shown, arguments.pictures / "regret.png")
    draw_overview(shown, arguments.pictures / "overview.svg")
    draw_harm(shown, arguments.pictures / "harm.png")
    draw_predictions(
        {
            name: [(r, tables[name].values[r["target"]]) for r in found["ours"]]
            for name, found in runs.items()
        },
        arguments.pictures / "predicted.png",
    )


if __name__ == "__main__":
    main()
