"""Faster forms of the network's blocks: the same sums, weights and state-dict keys. They need not be read to use it.

:func:`accelerate` installs them; ``S2MNET_PLAIN=1`` turns all of them off.
"""

from s2mnet.network.fast.install import Accelerated, Purpose, accelerate

__all__ = ["Accelerated", "Purpose", "accelerate"]
