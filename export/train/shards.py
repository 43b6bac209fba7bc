"""Parameters that are split over processes (FSDP), seen as plain tensors: this process's share, or the whole."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


def is_split(tensor: Tensor) -> bool:
    """Whether this is a share of a tensor that several processes hold together."""
    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """This process's share, sharing memory with `tensor`; the tensor itself when it isn't split."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor on the CPU. All processes must call this together."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def split_like(share: Tensor, tensor: Tensor) -> Tensor:
    """A process's share of something that is split as `tensor` is; `share` itself when that isn't split."""
    if not isinstance(tensor, DTensor):
        return share
    return DTensor.from_local(
        share, tensor.device_mesh, tensor.placements, shape=tensor.shape, stride=tensor.stride(), run_check=False
    )


def plain(value: Any) -> Any:
    """The same tree of dictionaries, lists and numbers with every tensor as this process's share."""
    if isinstance(value, Tensor):
        return local(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


@torch.no_grad()
def clip(gradients: list[Tensor], limit: float) -> Tensor:
    """Scale gradients in place so that their common norm is at most `limit`; returns the norm before, on the device."""
    total = torch.nn.utils.get_total_norm(gradients)
    if isinstance(total, DTensor):
        total = total.full_tensor()
    scale = (limit / (total + 1e-6)).clamp_max(1.0)
    torch._foreach_mul_([local(gradient) for gradient in gradients], scale)
    return total
