"""The comparison as tables, and as one markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lspsim.bench.cells import (
    ALLOCATORS,
    CONTROLS,
    FULL,
    HEADLINES,
    REFIT,
    SCORES,
    Cell,
    Method,
)
from lspsim.bench.claims import Claim, Spread, claims, over_seeds
from lspsim.bench.results import Row, Table
from lspsim.report.files import whole_file

GOALS = {
    ("16x16", 50): 0.4,
    ("16x16", 70): 0.8,
    ("16x16", 80): 1.5,
    ("32x32", 50): 0.5,
    ("32x32", 70): 1.0,
    ("32x32", 80): 2.8,
}
"""Points of top-1 that `FULL` may lose on glyphs, one-shot; set before measuring."""


HARD_KL_RATIO = 0.25
"""KL of `FULL` over that of `REFIT` on glyphs-hard at 80 %, at most; set alike."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text.

    Parameters
    ----------
    title, note
        Above it.
    header, rows
        Its cells.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def results(table: Table, distilled: bool = False) -> Grid:
    """Return drop and KL of every method, a column per block size and sparsity."""
    cells = [c for c in table.rows if c.distilled == distilled and c.block_out]
    places = sorted({(c.block_out, c.block_in, c.sparsity) for c in cells})
    methods = sorted({c.method for c in cells}, key=_rank)
    rows = []
    for method in methods:
        entries = [_entry(table, Cell(method, *place, distilled=distilled)) for place in places]
        unit = "" if _in_nats(table, method) or method.allocate == "uniform" else " *"
        rows.append((str(method) + unit, *entries))
    return Grid(
        "After the short distillation" if distilled else "One-shot",
        "Points of top-1 lost against dense (mean +- standard deviation over n seeds) and KL to "
        "dense in nats. An asterisk: layers share sparsity by a loss that is not in nats, "
        "which hardly compares between layers.",
        ("score / compensation / allocation", *(f"{o}x{i} {s} %" for o, i, s in places)),
        tuple(rows),
    )


def without_blocks(table: Table) -> Grid:
    """Return the controls that remove no blocks, beside the same share of MACs."""
    cells = sorted({replace(c, seed=0) for c in table.rows if not c.block_out})
    rows = []
    for cell in cells:
        drop, kl, saved = (
            over_seeds(table, cell, column) for column in ("drop_points", "kl_nats", "sparsity")
        )
        if drop and kl and saved:
            entry = f"{_spread(drop, 2)} / {kl.mean:.3f}"
            rows.append((str(cell.method), f"{100 * saved.mean:.1f} %", entry))
    return Grid(
        "Without blocks",
        "The same MACs spent otherwise: layers as products of low rank, compensated in the "
        "same way; a smaller dense network trained by the same recipe. Points of top-1 lost "
        "against dense and KL to dense in nats, as above.",
        ("control", "MACs of prunable layers removed", "drop / KL"),
        tuple(rows),
    )


def goals(table: Table) -> Grid:
    """Return what was to be reached on glyphs beside what was."""
    rows = []
    for (block, sparsity), most in GOALS.items():
        cell = Cell(FULL, *_sides(block), sparsity)
        found = over_seeds(table, cell, "drop_points")
        if found is not None:
            verdict = "reached" if found.mean <= most else "missed"
            rows.append((block, f"{sparsity} %", f"{most:.1f}", _spread(found, 2), verdict))
    return Grid(
        f"Goals: {FULL}",
        "Points of top-1 that may be lost, as set before measuring, and those that were.",
        ("block", "sparsity", "goal", "drop", "verdict"),
        tuple(rows),
    )


def hard_goals(table: Table) -> Grid:
    """Return what was to be reached on glyphs-hard beside what was."""
    rows = []
    for block in sorted({(cell.block_out, cell.block_in) for cell in table.rows}):
        ours, plain = (over_seeds(table, Cell(m, *block, 80), "kl_nats") for m in (FULL, REFIT))
        if ours is not None and plain is not None:
            ratio = ours.mean / plain.mean
            verdict = "reached" if ratio <= HARD_KL_RATIO else "missed"
            kls = f"{ours.mean:.4f}", f"{plain.mean:.4f}"
            rows.append((f"{block[0]}x{block[1]}", *kls, f"{ratio:.3f}", verdict))
    return Grid(
        f"Goal at 80 %: KL of {FULL} at most a quarter of that of {REFIT}",
        "KL to dense in nats; set before measuring.",
        ("block", "full", "least squares", "ratio", "verdict"),
        tuple(rows),
    )


def claim_grid(found: Sequence[Claim]) -> Grid:
    """Return claims with their corrected p-values."""
    return Grid(
        "Claims",
        "Gain: by how many points of top-1 the first method is better, over the seeds that both "
        "have. p: exact McNemar test on the images of the first of these seeds. p (Holm): after "
        f"Holm's correction for all {len(found)} comparisons. KL ratio: the first method's KL to "
        "dense over the second's, each over the images it was measured on.",
        ("claim", "against", "block", "sparsity", "gain", "KL ratio", "p", "p (Holm)"),
        tuple(
            (
                str(claim.ours),
                str(claim.theirs),
                claim.block,
                f"{claim.sparsity} %",
                _spread(claim.gain_points, 2, sign=True),
                f"{claim.kl_ratio:.3f}",
                _p(claim.p_value),
                _p(claim.p_holm),
            )
            for claim in found
        ),
    )


def grids(table: Table) -> list[Grid]:
    """Return all tables that have a row."""
    found = [
        claim_grid(claims(table)),
        results(table),
        without_blocks(table),
        results(table, distilled=True),
    ]
    if any(row.data == "glyphs" for row in table.rows.values()):
        found.insert(0, goals(table))
    if any(row.data == "glyphs-hard" for row in table.rows.values()):
        found.insert(0, hard_goals(table))
    return [grid for grid in found if grid.rows]


def markdown(table: Table) -> str:
    """Return the page."""
    rows = list(table.rows.values())
    if not rows:
        return "# Pruning methods compared\n\nNothing is measured yet.\n"
    first = rows[0]
    lines = [
        f"# Pruning methods compared: {first.model} on {first.data}",
        "",
        f"Dense top-1 {100 * _most_images(rows).top1_dense:.2f} % on "
        f"{_most_images(rows).images} test images; {first.calibration_images} calibration images; "
        f"{len(rows)} pruned networks, each on {_span(row.images for row in rows)} test images. "
        "Every figure, seed and version is in "
        f"[{table.path.name}]({table.path.name}); made by `lspsim bench pruning`.",
        "",
        "Sparsity is a budget of multiply-accumulates: the share of the prunable weights' MACs "
        "that must be removed (for a ViT the same as the share of prunable weights). Calibration, "
        "validation and test images are drawn apart; [README.md](README.md) says which choice "
        "was not blind to the test images. None of this says anything about ImageNet.",
    ]
    if table.path.with_suffix(".png").exists():
        lines += ["", f"![KL to dense over sparsity]({table.path.with_suffix('.png').name})"]
    for grid in grids(table):
        lines += ["", f"## {grid.title}", "", grid.note, "", *_markdown_table(grid)]
    versions = ", ".join(
        f"{name} {_names(getattr(row, name) for row in rows)}"
        for name in ("lspsim", "torch", "timm", "numpy", "python")
    )
    lines += ["", f"Weights {first.model_digest}; {versions}.", ""]
    return "\n".join(lines)


def write_markdown(table: Table) -> Path:
    """Write the page beside the table."""
    path = table.path.with_suffix(".md")
    with whole_file(path) as temporary:
        temporary.write_text(markdown(table), encoding="utf-8")
    return path


def _markdown_table(grid: Grid) -> list[str]:
    rows = [grid.header, ("---",) * len(grid.header), *grid.rows]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _entry(table: Table, cell: Cell) -> str:
    drop = over_seeds(table, cell, "drop_points")
    kl = over_seeds(table, cell, "kl_nats")
    if drop is None or kl is None:
        return ""
    return f"{_spread(drop, 2)} / {kl.mean:.3f}"


def _spread(found: Spread, digits: int, sign: bool = False) -> str:
    mean = f"{found.mean:{'+' if sign else ''}.{digits}f}"
    if found.deviation is None:
        return mean
    return f"{mean} +- {found.deviation:.{digits}f} (n={found.count})"


def _p(value: float) -> str:
    """Write a p-value; below 1e-6 only its size is of use, and it may have underflown."""
    return "< 1e-6" if value < 1e-6 else f"{value:.2g}"


def _in_nats(table: Table, method: Method) -> bool:
    return all(row.unit == "nats" for cell, row in table.rows.items() if cell.method == method)


def _rank(method: Method) -> tuple[object, ...]:
    first = (*HEADLINES, *CONTROLS)
    place = first.index(method) if method in first else len(first)
    score, allocate = SCORES.index(method.score), ALLOCATORS.index(method.allocate)
    return place, score, method.compensate, allocate, method


def _most_images(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda row: row.images)


def _span(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _names(values: Iterable[str]) -> str:
    return " and ".join(sorted(set(values)))


def _sides(block: str) -> tuple[int, int]:
    block_out, block_in = map(int, block.split("x"))
    return block_out, block_in
