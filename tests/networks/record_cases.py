"""Made-up records of pruned networks."""

from lspsim.networks.record import AllocationRecord, Measured, PointRecord

DENSE = Measured(
    cycles=1_000_000,
    latency_s=1e-3,
    energy_pj=4e8,
    macs=120_000_000,
    top1=0.85,
    kl_nats=0.0,
    images=3072,
)


def measured(speedup=2.0, energy_ratio=0.5, top1=0.8, dense=DENSE):
    return Measured(
        cycles=dense.cycles / speedup,
        latency_s=dense.latency_s / speedup,
        energy_pj=dense.energy_pj * energy_ratio,
        macs=dense.macs // 2,
        top1=top1,
        kl_nats=None if top1 is None else 0.01,
        images=0 if top1 is None else dense.images,
    )


def new_record(speedup=2.0, energy_ratio=0.5, top1=0.8, dense=DENSE, **changes):
    values = {
        "label": f"cycles={1 / speedup:.3g}",
        "model": "lspsim/deit_glyphs",
        "data": "glyphs",
        "hardware": "edge_32x32",
        "block": "16x16",
        "score": "block-obs",
        "allocate": "knapsack",
        "compensate": "refit",
        "budgets": {"cycles": f"{1 / speedup:.3g}"},
        "seed": 0,
        "sparsity": 0.5,
        "dense": dense,
        "pruned": measured(speedup, energy_ratio, top1, dense),
        "allocation": AllocationRecord(
            loss=0.013,
            bound=0.012,
            gap_relative=1 / 12,
            gap_nats=0.001,
            multipliers={"cycles": 2.5e-8},
        ),
        "damping": {"blocks.0.attn.qkv": 0.01, "blocks.0.mlp.fc2": 0.1},
        "provenance": {"lspsim_version": "0.1.0", "command": ["lspsim", "prune"], "images": 256},
    }
    return PointRecord(**(values | changes))
