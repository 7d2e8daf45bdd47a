"""What converters leave behind, and the rewrites that take it out. Every one keeps the float output, to the last rounding.

A rewrite is one function: given the graph and one of its ops it gives the graph without that remnant, or None. One engine,
:mod:`intact.rewrite.clean`, applies them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from intact.rewrite import images, layout, scales
from intact.rewrite.view import Rewrite

REWRITES: Final[Mapping[str, Rewrite]] = {
    "fold constants": scales.fold_constants,
    "drop identity": layout.drop_identity,
    "merge transposes": layout.merge_transposes,
    "transpose to reshape": layout.transpose_to_reshape,
    "mean of transpose": layout.mean_of_transpose,
    "global pool to mean": images.global_pool_to_mean,
    "mean without kept axes": layout.mean_without_kept_axes,
    "repeat to resize": images.repeat_to_resize,
    "expand dims to reshape": layout.expand_dims_to_reshape,
    "merge reshapes": layout.merge_reshapes,
    "merge resizes": images.merge_resizes,
    "flatten of transpose": layout.flatten_of_transpose,
    "transpose of unflatten": layout.transpose_of_unflatten,
    "dilated convolution": images.dilated_convolution,
    "strided slice in full": layout.strided_slice_in_full,
    "mediapipe transposed convolution": images.mediapipe_transpose_conv,
    "pad in convolution": images.pad_in_convolution,
    "pad in max pool": images.pad_in_max_pool,
    "fuse activation": scales.fuse_activation,
    "scale in weights": scales.scale_in_weights,
    "shift in bias": scales.shift_in_bias,
    "sub to add": scales.sub_to_add,
    "merge constants": scales.merge_constants,
    "scale before shift": scales.scale_before_shift,
    "scale in next weights": scales.scale_in_next_weights,
    "bounded exponential": scales.bounded_exponential,
    "broadcast as it is": layout.broadcast_as_it_is,
    "nothing to add": scales.nothing_to_add,
    "bias before sum": scales.bias_before_sum,
}
