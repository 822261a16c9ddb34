"""LoRA adapters (Hu et al., 2022) by peft, merged into the weights at the end of training."""

from torch import nn

from genir.errors import InputError
from genir.models.base import Trainable


def add_adapters(model: Trainable, rank: int) -> None:
    """Freeze a model's pre-trained network and add trainable LoRA adapters to its linear layers.

    Raises:
        InputError: the model does not support adapters, or peft is not installed.
    """
    network = model.adapter_target()
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError(
            "--adapters: peft is not installed; pip install 'genir[adapters]', or leave adapters "
            "at 0"
        ) from None
    names = sorted({name for name, part in network.named_modules() if isinstance(part, nn.Linear)})
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
    inject_adapter_in_model(config, network)


def merge_adapters(model: Trainable) -> None:
    """Merge the adapters into their base weights and remove them."""
    network = model.adapter_target()
    from peft.tuners.lora import LoraLayer

    adapted = {name: part for name, part in network.named_modules() if isinstance(part, LoraLayer)}
    for name, part in adapted.items():
        part.merge()
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, part.get_base_layer())
    for parameter in network.parameters():
        parameter.requires_grad_(True)
