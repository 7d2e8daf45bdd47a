"""What the report did: FX graph mode, with FBGEMM's kernels; and what it said."""

import copy
import warnings

import torch
from torch.ao.quantization import QConfigMapping, default_qconfig, get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from measure import BATCH

FX = "FX graph mode, FBGEMM"
SAID = {"float": "92.95", FX: "58.15"}
PER_TENSOR = QConfigMapping().set_global(default_qconfig)  # one scale for all channels of a weight, ranges from extremes


def graph_mode(network: torch.nn.Module, samples: torch.Tensor, config: QConfigMapping | None = None) -> torch.nn.Module:
    """FX graph mode, by FBGEMM's default configuration unless given another, as the report has it."""
    torch.backends.quantized.engine = "fbgemm"
    with warnings.catch_warnings(action="ignore"), torch.no_grad():  # torch says that it is deprecated
        prepared = prepare_fx(copy.deepcopy(network), config or get_default_qconfig_mapping("fbgemm"), (samples[:1],))
        for part in samples.split(64):
            prepared(part)
        return torch.jit.trace(convert_fx(prepared), samples[:BATCH], check_trace=False)
