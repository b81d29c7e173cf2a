"""Reading a network back, whatever wrote it: the suffix and the format named inside decide."""

from __future__ import annotations

from pathlib import Path

from depthwright.networks import tensor_files
from depthwright.networks.network import Network
from depthwright.refusal import Refusal


def load(path: str | Path) -> Network:
    """The network of a file that `Network.save` wrote, with the same values."""
    path = Path(path)
    if not path.is_file():
        raise Refusal(f"{path} is not there")
    if path.name.endswith(".jsonl.gz"):
        from depthwright.networks.exact import file as exact_file
        from depthwright.networks.exact.network import ExactNetwork

        return ExactNetwork(*exact_file.load(path))
    if path.suffix == ".onnx":
        from depthwright.networks.reading import exact_network

        return exact_network(path)
    if path.suffix != ".safetensors":
        raise Refusal(
            f"{path.name} has an unknown suffix; networks are saved as .safetensors or .onnx, or "
            "in the open exact format as .jsonl.gz"
        )
    found = tensor_files.metadata(path).get("format")
    if found == "depthwright-ridge":
        from depthwright.networks.ridge import load_ridge

        return load_ridge(path)
    if found == "depthwright-styled":
        from depthwright.networks.styled_network import load_styled

        return load_styled(path)
    from depthwright.networks.torch_network import load_module

    return load_module(path)
