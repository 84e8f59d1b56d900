"""Normalization layers: activations brought to a common mean and scale."""

from cdl.layers.normalization.batch_normalization import BatchNormalization as BatchNormalization
from cdl.layers.normalization.group_normalization import GroupNormalization as GroupNormalization
from cdl.layers.normalization.line_normalization import LayerNormalization as LayerNormalization
from cdl.layers.normalization.line_normalization import RMSNormalization as RMSNormalization
from cdl.layers.normalization.line_normalization import UnitNormalization as UnitNormalization
