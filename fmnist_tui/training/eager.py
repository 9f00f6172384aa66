"""Training without torch's compiler being loaded: what the optimizers of `optim` and `muon` have in common.

torch imports all of torch._dynamo, and sympy with it, as soon as an optimizer is built: some 890 modules more. A tiny
run of two steps took 5.5 instead of 3.5 s of processor time (torch 2.14, one thread of an AMD EPYC beside other work).
"""

from __future__ import annotations

import inspect

import torch


class EagerOptimizer(torch.optim.Optimizer):
    """An optimizer whose own methods are never traced: the compiler, where there is one, is given the network only.

    torch wraps these four so that the compiler stays out of them, and the wrapper imports it to say so.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
