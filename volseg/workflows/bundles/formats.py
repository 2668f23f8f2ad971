"""A network as a file that runs without its code: ONNX, ``torch.export``, TorchScript.

Each format is written in one of two ways: for volumes of any size, or for the one size that it was
given. Which of them a network allows is found out by trying; see `volseg.workflows.bundles.export`.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit.frontend import FrontendError

from volseg.errors import BundleError
from volseg.networks.segmenter import Segmenter
from volseg.types import Size

JIT: Any = torch.jit
"""Its functions are not typed."""

Run = Callable[[Tensor], Tensor]
"""From volumes ``(B, C, D, H, W)`` to logits ``(B, K, D, H, W)``."""


class Logits(nn.Module):
    """A network with one input and one output, whatever else its ``forward`` takes.

    Args:
        network: From volumes to logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Compute logits.

        Args:
            image: Volumes, ``(B, C, D, H, W)``.

        Returns:
            Logits, ``(B, K, D, H, W)``.
        """
        logits: Tensor = self.network(image)
        return logits


class Subject:
    """A network that is to be exported, and volumes to try it with.

    Args:
        network: From volumes to logits, on the CPU.
        num_channels: Channels of a volume.
        size: Voxels along each axis of a volume that the network takes for certain.
    """

    def __init__(self, network: nn.Module, num_channels: int, size: Size) -> None:
        self.network = Logits(network).eval()
        self.num_channels = num_channels
        self.size = size
        self.divisor = network.encoder.spec.divisor if isinstance(network, Segmenter) else None
        self._programs: dict[bool, torch.export.ExportedProgram] = {}

    def other_sizes(self) -> list[Size]:
        """Give sizes that show whether other sizes work: each axis differs in at least one."""
        a, b, c = self.size
        if self.divisor is not None:
            return [(a + self.divisor[0], b + 2 * self.divisor[1], c + 3 * self.divisor[2])]
        return [(2 * a, b, c), (a, 2 * b, c), (a, b, 2 * c)]

    def volume(self, size: Size, batch_size: int = 1) -> Tensor:
        """Draw noise, ``(B, C, D, H, W)``, the same every time."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn((batch_size, self.num_channels, *size), generator=generator)

    def program(self, *, is_dynamic: bool) -> torch.export.ExportedProgram:
        """Record what the network computes.

        Args:
            is_dynamic: Whether batch and axes may have any length that the network's strides
                divide.

        Returns:
            The record, made once.
        """
        if is_dynamic not in self._programs:
            volume = self.volume(self.size, 2 if is_dynamic else 1)  # a 1 would count as a constant
            shapes = {"image": self._dimensions()} if is_dynamic else None
            with torch.no_grad():
                self._programs[is_dynamic] = torch.export.export(
                    self.network, (volume,), dynamic_shapes=shapes, strict=False
                )
        return self._programs[is_dynamic]

    def _dimensions(self) -> dict[int, Any]:
        dim = torch.export.Dim
        if self.divisor is None:
            return dict.fromkeys((0, 2, 3, 4), dim.AUTO)
        axes = [
            step * dim(name, min=1) if step > 1 else dim(name, min=1)
            for name, step in zip(("depth", "height", "width"), self.divisor, strict=True)
        ]
        return {0: dim("batch", min=1), **dict(enumerate(axes, 2))}


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        file: Name of the file.
        write: Writes a subject to a path; ``is_dynamic`` asks for any size.
        load: Gives what the file computes.
        needs: Packages that it takes beyond volseg's own.
    """

    file: str
    write: Callable[..., None]
    load: Callable[[Path], Run]
    needs: Sequence[str] = ()


def _write_pt2(subject: Subject, path: Path, *, is_dynamic: bool) -> None:
    torch.export.save(subject.program(is_dynamic=is_dynamic), path)


def _load_pt2(path: Path) -> Run:
    run: Run = torch.export.load(path).module()
    return run


def _write_onnx(subject: Subject, path: Path, *, is_dynamic: bool) -> None:
    program = torch.onnx.export(
        subject.program(is_dynamic=is_dynamic),
        input_names=["image"],
        output_names=["pred"],
        verbose=False,
    )
    if program is None:
        raise BundleError("PyTorch gave no ONNX program")
    program.save(path)


def _load_onnx(path: Path) -> Run:
    import onnx
    import onnxruntime

    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(volume: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"image": volume.numpy()})[0])

    return run


def _write_torchscript(subject: Subject, path: Path, *, is_dynamic: bool) -> None:  # noqa: ARG001
    """Compile the network or, if its code is more than TorchScript knows, follow one volume."""
    try:
        program = JIT.script(subject.network)
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, OSError, FrontendError):
        volume = subject.volume(subject.size)
        program = JIT.trace(subject.network, volume, check_trace=False)
    JIT.save(program, path)


def _load_torchscript(path: Path) -> Run:
    run: Run = JIT.load(path, map_location="cpu")
    return run


FORMATS: Mapping[str, Format] = {
    "onnx": Format("model.onnx", _write_onnx, _load_onnx, ("onnx", "onnxscript", "onnxruntime")),
    "pt2": Format("model.pt2", _write_pt2, _load_pt2),
    "torchscript": Format("model.ts", _write_torchscript, _load_torchscript),
}
"""What a network can be exported to."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters from talking about what is none of the user's business."""
    talker = logging.getLogger("torch.onnx")
    before = talker.level
    talker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        talker.setLevel(before)
