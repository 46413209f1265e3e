"""The names that the tool that made a file gives to the tensors of its generator."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rewrite.checkpoints.archives import tensors
from rewrite.checkpoints.persistent import network_of, tensors_of
from rewrite.checkpoints.tensors import Placed

NamePath = tuple[str, ...]
"""The keys of dictionaries inside one another; the last is the tensor's name."""


def own_names(content: Any, places: Sequence[Placed]) -> dict[NamePath, Placed]:
    """All tensors of the generator in a file by the tool's own names; in the order of the file.

    Tensors of a module that was pickled have the names of its state dict. Of a dictionary, the entries beside those
    that our network reads belong to the generator too (fixed filters, for instance), but not those of other networks.

    Args:
        content: What the file holds.
        places: The tensors that our network is filled with. Nothing is named if there are none.
    """
    network = network_of(content)
    if network is not None:
        return {(name,): tensor for name, tensor in tensors_of(network)} if places else {}
    read = {id(place) for place in places}
    named = [(path, tensor) for path, tensor in tensors(content) if path and all(isinstance(key, str) for key in path)]
    homes = Counter(path[:-1] for path, tensor in named if id(tensor) in read)
    if not homes:
        return {}
    home = homes.most_common(1)[0][0]
    at_home = {path: tensor for path, tensor in named if path[:-1] == home}
    # A state dict of generator and discriminator together has the network's name before the first dot.
    parts = {path[-1].partition(".")[0] for path, tensor in at_home.items() if id(tensor) in read}
    beside = {path: tensor for path, tensor in at_home.items() if len(parts) > 1 or path[-1].partition(".")[0] in parts}
    known = {id(tensor) for tensor in beside.values()}
    return beside | {path: tensor for path, tensor in named if id(tensor) in read - known}
