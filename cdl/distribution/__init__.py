"""Distributed training on several processes of an MPI job."""

from cdl._common.public_names import publish
from cdl.distribution.api import (
    DataParallel,
    DeviceMesh,
    distribution,
    get_device_count,
    initialize,
    list_devices,
    set_distribution,
)

__all__ = [
    "DataParallel",
    "DeviceMesh",
    "distribution",
    "get_device_count",
    "initialize",
    "list_devices",
    "set_distribution",
]

publish(globals())
