"""`OperatorBuilder`: makes operators of the modules that a walker names, and misses none."""

from __future__ import annotations

from typing import Any

from torch import nn

from lspsim.errors import ModelError, UnsupportedOperatorError
from lspsim.models.torchvision_guard import import_timm
from lspsim.workload.ops import Gemm, VectorKind, VectorOp

Tensor = tuple[str, int, int]
"""A tensor on its way through the network: producer's name, rows, columns."""


class OperatorBuilder:
    """Collects the operators of one inference in execution order.

    A walker calls it along the model's forward pass. Sizes are read from the
    weights, so that models with removed heads or neurons come out right, and
    each operator's width is checked against its producer's. Modules and
    parameters that no call has placed are errors in `finish`.

    Parameters
    ----------
    root
        The model; paths are relative to it.
    images
        Images per inference.
    """

    def __init__(self, root: nn.Module, images: int) -> None:
        self.root = root
        self.images = images
        self.ops: list[Gemm | VectorOp] = []
        self._placed: set[str] = {""}
        layers = import_timm().layers
        act = layers.activations
        self._norms = (nn.LayerNorm, layers.LayerNorm, layers.LayerNormFp32)
        self._activations: dict[type[nn.Module], VectorKind] = {
            nn.GELU: "gelu",
            act.GELU: "gelu",
            act.GELUTanh: "gelu",
            act.QuickGELU: "gelu",
            nn.ReLU: "relu",
            nn.SiLU: "silu",
            act.Swish: "silu",
        }
        self._transparent = (nn.Identity, nn.Dropout, layers.DropPath, layers.PatchDropout)

    def expect(self, path: str, *classes: type[nn.Module]) -> Any:
        """Place the module at `path`, which must compute what one of `classes` computes.

        Raises
        ------
        UnsupportedOperatorError
            When it is of another type, or overrides `forward`.
        """
        module = self.root.get_submodule(path)
        for cls in classes:
            if (
                isinstance(module, cls)
                and type(module).forward is cls.forward
                and "forward" not in vars(module)
            ):
                self._placed.add(path)
                return module
        names = ", ".join(sorted({cls.__name__ for cls in classes}))
        raise UnsupportedOperatorError(
            f"{path}: {typename(module)} is not modelled here (known: {names}); "
            "replace it, or leave this model out"
        )

    def place(self, *paths: str) -> None:
        """Account for modules without work, or parameters that a container holds itself."""
        self._placed.update(paths)

    def is_identity(self, path: str) -> bool:
        """Whether the module at `path` passes its input on."""
        return isinstance(self.root.get_submodule(path), self._transparent)

    def vector(
        self,
        name: str,
        kind: VectorKind,
        x: Tensor,
        *others: Tensor,
        out: tuple[int, int] | None = None,
        parameters: int = 0,
    ) -> Tensor:
        """Emit a vector operator over `x` that reads `parameters` stored values.

        `out` is its result's shape where it differs. Where both shapes hold
        equally many values (`copy`), the operator is stated in that of the result.
        """
        _, rows, cols = x
        out_rows, out_cols = out or (rows, cols)
        if rows * cols == out_rows * out_cols:
            rows, cols = out_rows, out_cols
        inputs = tuple(tensor[0] for tensor in (x, *others))
        changed = out_rows if out_rows != rows else None
        self.ops.append(VectorOp(name, kind, rows, cols, inputs, changed, parameters))
        return name, out_rows, out_cols

    def linear(self, path: str, x: Tensor, rows: int | None = None) -> Tensor:
        """Emit a linear layer as a weight GEMM over `rows` of `x` (default: all)."""
        layer = self.expect(path, nn.Linear)
        n, k = layer.weight.shape
        name, x_rows, cols = x
        if k != cols:
            raise ModelError(
                f"{path}: its weight has {k} input columns, but {name!r} produces {cols}; "
                "the model's layers do not fit each other"
            )
        m = x_rows if rows is None else rows
        self.ops.append(Gemm(path, m, k, n, bias=layer.bias is not None, inputs=(name,)))
        return path, m, n

    def norm(self, path: str, x: Tensor) -> Tensor:
        """Emit a layer normalization, or nothing for an identity."""
        if self.is_identity(path):
            return x
        module = self.expect(path, *self._norms)
        stored = sum(parameter.numel() for parameter in module.parameters())
        return self.vector(path, "layernorm", x, parameters=stored)

    def activation(self, path: str, x: Tensor) -> Tensor:
        """Emit an activation function, or nothing for an identity."""
        if self.is_identity(path):
            return x
        module = self.expect(path, *self._activations)
        kind = next(kind for cls, kind in self._activations.items() if isinstance(module, cls))
        return self.vector(path, kind, x)

    def finish(self) -> tuple[Gemm | VectorOp, ...]:
        """Return the operators.

        Raises
        ------
        UnsupportedOperatorError
            When a module or parameter of the model was not placed.
        """
        for path, module in self.root.named_modules():
            if path in self._placed or isinstance(module, self._transparent):
                continue
            leaf = next(module.children(), None) is None
            own = next(module.parameters(recurse=False), None) is not None
            if leaf or own:
                raise UnsupportedOperatorError(
                    f"{path}: {typename(module)} is in the model, but lspsim does not know where "
                    "it runs; replace it, or leave this model out"
                )
        for path, _ in self.root.named_parameters():
            owner, _, _ = path.rpartition(".")
            leaf = next(self.root.get_submodule(owner).children(), None) is None
            if not leaf and path not in self._placed:
                raise UnsupportedOperatorError(
                    f"{path}: lspsim does not know what this parameter of "
                    f"{typename(self.root.get_submodule(owner))} does; leave this model out"
                )
        return tuple(self.ops)


def typename(module: nn.Module) -> str:
    """Return the full name of the module's class, for messages."""
    return f"{type(module).__module__}.{type(module).__qualname__}"
