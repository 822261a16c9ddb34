"""Low-rank adapters (LoRA, Hu et al., 2022) by peft: trained in the place of a network's weights,
and added to them at the end, so that nothing of them is left in a model folder.
"""

from torch import nn

from genir.errors import InputError
from genir.models.base import DocidModel


def add_adapters(model: DocidModel, rank: int) -> None:
    """Freeze a model's pre-trained network and train low-rank additions to its linear maps.

    Raises InputError for a model that takes none, and where peft is not installed.
    """
    network = model.adaptable()
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError(
            "adapters are by peft, which is not installed; pip install 'genir[adapters]', or "
            "leave them at 0"
        ) from None
    names = sorted({name for name, part in network.named_modules() if isinstance(part, nn.Linear)})
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
    inject_adapter_in_model(config, network)


def merge_adapters(model: DocidModel) -> None:
    """Add adapters to the weights that they stand beside, and take them out."""
    network = model.adaptable()
    from peft.tuners.lora import LoraLayer

    adapted = {name: part for name, part in network.named_modules() if isinstance(part, LoraLayer)}
    for name, part in adapted.items():
        part.merge()
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, part.get_base_layer())
    for parameter in network.parameters():
        parameter.requires_grad_(True)
