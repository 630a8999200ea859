"""Run directories: everything about one run, in files that other tools read.

| file | content |
|---|---|
| `summary.json` | the object that `lspsim simulate --format json` prints |
| `layers.parquet` | one row per operator, columns with their units in their names |
| `hardware.yaml` | the hardware with every default filled in |
| `workload.json` | the operators |
| `masks.npz` | the masks |
| `provenance.json` | versions and digests |
| `plots/` | overview, cycles, energy, roofline, masks; PNG and SVG |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lspsim.errors import ResultError
from lspsim.hardware import Hardware, load_hardware
from lspsim.report.files import whole_directory
from lspsim.report.summary import RunSummary
from lspsim.simulate.result import SimulationResult
from lspsim.workload import BlockMask, Workload
from lspsim.workload.mask_io import load_masks, save_masks
from lspsim.workload.serialise import load_workload, save_workload

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = "summary.json"
LAYERS = "layers.parquet"
HARDWARE = "hardware.yaml"
WORKLOAD = "workload.json"
MASKS = "masks.npz"
PROVENANCE = "provenance.json"
PLOTS = "plots"
CONTENT = (SUMMARY, LAYERS, HARDWARE, WORKLOAD, MASKS, PROVENANCE, PLOTS)


@dataclass(frozen=True)
class RunDirectory:
    """A run that was read back; big parts are read when they are asked for.

    Attributes
    ----------
    path
        The directory.
    summary
        Its figures.
    provenance
        Versions and digests as the run recorded them.
    """

    path: Path
    summary: RunSummary
    provenance: dict[str, Any]

    @cached_property
    def hardware(self) -> Hardware:
        """What it ran on. Raises ConfigError for a damaged file."""
        return load_hardware(str(self.path / HARDWARE))

    @cached_property
    def workload(self) -> Workload:
        """What ran, masks included. Raises WorkloadError for a damaged file."""
        return load_workload(self.path / WORKLOAD)

    @cached_property
    def masks(self) -> dict[str, BlockMask]:
        """The masks by GEMM. Raises WorkloadError for a damaged file."""
        path = self.path / MASKS
        return load_masks(path) if path.exists() else {}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per operator. Raises ResultError for a damaged file."""
        import pandas as pd
        import pyarrow as pa

        path = self.path / LAYERS
        try:
            return pd.read_parquet(path)
        except (OSError, pa.ArrowException) as error:
            raise ResultError(
                f"{path}: cannot be read as Parquet ({error}); run the simulation again"
            ) from error


def write_run(
    result: SimulationResult, out_dir: Path, *, overwrite: bool = False, plots: bool = True
) -> Path:
    """Write a run directory, whole or not at all.

    Parameters
    ----------
    result
        The run.
    out_dir
        Where. Missing parents are made.
    overwrite
        Replace an existing run directory. Anything else is never replaced.
    plots
        Draw the plots too (about two seconds).

    Returns
    -------
    Path
        `out_dir`.

    Raises
    ------
    ResultError
        When the place is taken or cannot be written.
    """
    _check_free(out_dir, overwrite)
    with whole_directory(out_dir) as directory:
        _write_json(directory / SUMMARY, result.to_dict())
        _write_json(directory / PROVENANCE, dict(result.provenance))
        result.layer_frame().to_parquet(directory / LAYERS, index=False)
        (directory / HARDWARE).write_text(result.hardware.to_yaml(), encoding="utf-8")
        save_workload(directory / WORKLOAD, result.workload)
        masks = {gemm.name: gemm.mask for gemm in result.workload.gemms if gemm.mask is not None}
        if masks:
            save_masks(directory / MASKS, masks)
        if plots:
            write_plots(result, directory / PLOTS)
    return out_dir


def write_plots(result: SimulationResult, directory: Path) -> None:
    """Draw every plot of a run that has something to show, as PNG and SVG.

    Parameters
    ----------
    result
        The run.
    directory
        Where; created when missing.
    """
    from lspsim.report import plots

    directory.mkdir(exist_ok=True)
    run = RunSummary.of(result)
    masked = any(gemm.mask is not None for gemm in result.workload.gemms)
    if run.totals.cycles_total:
        figure, _ = plots.draw_breakdown(plots.cycle_breakdown(run))
        plots.save_figure(figure, directory / "cycles")
        figure, _ = plots.draw_breakdown(plots.energy_breakdown(run))
        plots.save_figure(figure, directory / "energy")
    if run.totals.macs_executed:
        figure, _ = plots.draw_roofline(plots.roofline(run, result.hardware))
        plots.save_figure(figure, directory / "roofline")
    if masked:
        figure, _ = plots.draw_masks(plots.mask_grid(result.workload))
        plots.save_figure(figure, directory / "masks")
    if masked and run.totals.cycles_total:
        plots.save_figure(plots.draw_overview(run, result.workload), directory / "overview")


def read_run(directory: Path) -> RunDirectory:
    """Open a run directory.

    Parameters
    ----------
    directory
        One that `write_run` or `lspsim simulate --out` wrote.

    Raises
    ------
    ResultError
        When it is none, or its summary or provenance is damaged or of another version.
    """
    if not directory.is_dir():
        raise ResultError(
            f"{directory}: no such directory; give one that `lspsim simulate --out` wrote"
        )
    if not (directory / PROVENANCE).is_file():
        raise ResultError(
            f"{directory}: not a run directory (it has no {PROVENANCE}); give one that "
            "`lspsim simulate --out` wrote"
        )
    summary = RunSummary.from_dict(_read_json(directory / SUMMARY), where=str(directory / SUMMARY))
    provenance = _read_json(directory / PROVENANCE)
    if not isinstance(provenance, dict):
        raise ResultError(f"{directory / PROVENANCE}: expected a JSON object; run it again")
    return RunDirectory(directory, summary, provenance)


def _check_free(path: Path, overwrite: bool) -> None:
    """Raise unless `path` is free, empty, or a run directory that may be replaced."""
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise ResultError(f"cannot write the run directory {path}: a file is there; name another")
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return
    if PROVENANCE not in names:
        raise ResultError(
            f"cannot write the run directory {path}: it holds other files and is no run "
            "directory; name a new one"
        )
    if foreign := sorted(names - set(CONTENT)):
        raise ResultError(
            f"cannot replace the run directory {path}: it also holds {', '.join(foreign)}, "
            "which would be lost; move that away or name a new directory"
        )
    if not overwrite:
        raise ResultError(
            f"the run directory {path} exists; name a new one, remove it, or have it replaced "
            "(--overwrite; in Python overwrite=True)"
        )


def _write_json(path: Path, data: dict[str, Any]) -> None:
    """Write one JSON object; not-a-number is a bug and raises."""
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    """Parse a JSON file or say what is wrong with it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(
            f"{path}: cannot be read ({error.strerror}); is the run directory complete? Run the "
            "simulation again"
        ) from error
    except ValueError as error:
        raise ResultError(
            f"{path}: not valid JSON ({error}); the file is damaged, run the simulation again"
        ) from error
