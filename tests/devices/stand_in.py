"""A simulated device: its tensors are in main memory, but reject operations that a GPU rejects.

For machines without a GPU. A tensor on it wraps a CPU tensor, and every operator runs on the
wrapped tensors after a check of its arguments: mixing two devices is an error, except where torch
allows it on CUDA, too (copies, numbers, indices in brackets). It does not simulate bf16, missing
GPU kernels or speed.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = "standin"
DEVICE = torch.device("privateuseone:0")

aten = torch.ops.aten
MOVES = {"_to_copy", "to", "copy_", "_copy_from", "set_data"}
"""Operators that move tensors between devices."""
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
"""Operators that accept CPU indices on any device."""
NUMBERED = {"where", "masked_fill", "masked_fill_", "fill_", "fill"}
NUMBERED |= {"__and__", "__or__", "__xor__", "__iand__", "__ior__"}
"""Operators, besides elementwise ones, that accept a 0-dimensional CPU tensor."""
SIZED = {"expand_as", "view_as", "reshape_as"}
"""Operators that read only the size of the second tensor."""
WAITS = {
    "_local_scalar_dense",
    "nonzero",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "masked_select",
    "equal",
    "bincount",
}
"""Operators that synchronise with the host, because a number or shape depends on values."""


class StandIn(torch.Tensor):
    """A tensor on the device; `held` is the wrapped CPU tensor."""

    @staticmethod
    def __new__(cls, held: torch.Tensor, requires_grad: bool = False) -> "StandIn":
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=requires_grad,
        )

    def __init__(self, held: torch.Tensor, requires_grad: bool = False) -> None:
        self.row_mask = held

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def data_ptr(self):
        return self.row_mask.data_ptr()

    def untyped_storage(self):
        return self.row_mask.untyped_storage()

    def numpy(self, **options):
        raise TypeError(f"can't convert {self.device} tensor to numpy; use Tensor.cpu() first")

    def __array__(self, *options, **named):
        self.numpy()

    def tolist(self):
        watched["tolist"] += 1
        return self.row_mask.tolist()

    def __repr__(self):
        return f"StandIn({self.row_mask!r})"

    def __deepcopy__(self, known):
        if id(self) not in known:
            copied = StandIn(self.row_mask.clone(), self.requires_grad)
            if getattr(self, "_is_param", False):
                copied._is_param = True
            known[id(self)] = copied
        return known[id(self)]

    def __reduce_ex__(self, protocol):
        return restored, (self.row_mask.detach().clone(),)


def restored(held: torch.Tensor) -> StandIn:
    """Restore a pickled tensor."""
    return StandIn(held)


class OnTwoDevices(RuntimeError):
    """An operator got tensors of two devices, which a GPU rejects."""


watched: Counter[str] = Counter()


def is_ours(device: object) -> bool:
    return isinstance(device, torch.device) and device.type == DEVICE.type


def run(func, args, kwargs):
    """Run an operator on the wrapped tensors; reject operations that a GPU rejects."""
    leaves, _ = tree_flatten((args, kwargs))
    mine = [leaf for leaf in leaves if isinstance(leaf, StandIn)]
    goal = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    if not mine and not is_ours(goal):
        return func(*args, **kwargs)
    name = func._schema.name.split("::")[1]
    if name in SIZED and not isinstance(args[0], StandIn):
        return func(args[0], lower(args[1]))
    refuse_two(func, name, args, kwargs)
    away = goal is not None and not is_ours(goal)
    watch(name, args, mine and away)
    held_args, held_kwargs = tree_map(lower, (args, kwargs))
    made = func(*held_args, **held_kwargs)
    if goal is not None and made is held_args[0] and is_ours(goal) != bool(mine):
        made = made.clone()  # a copy on the device is never the same tensor
    known = {id(lower(leaf)): leaf for leaf in leaves if isinstance(leaf, torch.Tensor)}
    # A view of a tensor made outside inference mode is a new tensor, too.
    views = func.is_view and any(not one.is_inference() for one in mine)
    with torch.inference_mode(torch.is_inference_mode_enabled() and not views):
        return tree_map(partial(lift, known, away), made)


def watch(name, args, leaving) -> None:
    """Count operators that synchronise with the host."""
    if name in WAITS or (name in INDEXED and by_mask(args)):
        watched[name] += 1
    if leaving:
        watched["to the host"] += 1


def lift(known, away, value):
    """Wrap an operator's result, or return the argument that it is."""
    if not isinstance(value, torch.Tensor) or id(value) in known:
        return known.get(id(value), value)
    return value if away else StandIn(value)


def lower(value):
    if isinstance(value, StandIn):
        return value.row_mask
    return torch.device("cpu") if is_ours(value) else value


def by_mask(args) -> bool:
    return any(i is not None and i.dtype == torch.bool for i in args[1])


def refuse_two(func, name, args, kwargs) -> None:
    """Raise OnTwoDevices where CUDA raises an error."""
    leaves, _ = tree_flatten((args, kwargs))
    generator = kwargs.get("generator")
    if generator is not None and not is_ours(generator.device):
        raise OnTwoDevices(f"{func}: a generator of {generator.device}")
    if name in MOVES | SIZED:
        return
    if name in INDEXED:
        beside = [*args[:1], *args[2:]]
        if not isinstance(args[0], StandIn):
            raise OnTwoDevices(f"{func}: indices on the device into a tensor of the CPU")
        leaves, _ = tree_flatten(beside)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    others = [one for one in tensors if not isinstance(one, StandIn)]
    if not others:
        return
    numbers = name in NUMBERED | INDEXED or torch.Tag.pointwise in func.tags
    into_ours = isinstance(tensors[0], StandIn) or name[-1] != "_"
    if not (numbers and into_ours) or any(one.dim() for one in others):
        shapes = [(tuple(one.shape), str(one.device)) for one in tensors]
        raise OnTwoDevices(f"{func}: tensors of two devices, {shapes}")


class Dispatch(TorchDispatchMode):
    """Dispatches every operator to `run`, including factories, which have no tensor argument."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class Literals(TorchFunctionMode):
    """Creates tensors of Python numbers in main memory, since torch moves them outside any mode."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and is_ours(_device(kwargs.get("device"))):
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        if func is torch.Tensor.new_tensor and isinstance(args[0], StandIn):
            dtype = kwargs.get("dtype", args[0].dtype)
            return torch.tensor(*args[1:], dtype=dtype).to(DEVICE)
        if func is torch.Tensor.__getitem__ and isinstance(args[1], list):
            return args[0][torch.tensor(args[1], dtype=None if args[1] else torch.long)]
        return func(*args, **kwargs)


def _device(named):
    return None if named is None else torch.device(named)


class Backend:
    """The module `torch.standin`, which torch requires of a device."""

    is_initialized = is_available = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    _lazy_init = staticmethod(lambda: None)
    set_device = synchronize = staticmethod(lambda *_: None)


def register() -> None:
    """Register the device with torch, permanently."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    if not hasattr(torch, NAME):
        _setup_privateuseone_for_python_backend(NAME, backend_module=Backend())
        torch.serialization.add_safe_globals([restored])


@contextmanager
def stand_in() -> Iterator[torch.device]:
    """Provide the device for a `with` block."""
    register()
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        # With its own threads, the autograd engine has aborted on a device registered from Python.
        with Dispatch(), Literals(), torch.autograd.set_multithreading_enabled(False):
            yield DEVICE
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
